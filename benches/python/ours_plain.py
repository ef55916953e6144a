"""This project on the `plain` dialect: the very frames that the raw WebSocket libraries get."""

from common import run
from ours import Ours


class OursPlain(Ours):
    protocol, dialect = "plain", "plain"


if __name__ == "__main__":
    run(OursPlain)
