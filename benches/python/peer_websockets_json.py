"""websockets with the json of the standard library: what most services run."""

import json

from common import run
from peer_websockets import Websockets


class WebsocketsJson(Websockets):
    loads, dumps = staticmethod(json.loads), staticmethod(json.dumps)


if __name__ == "__main__":
    run(WebsocketsJson)
