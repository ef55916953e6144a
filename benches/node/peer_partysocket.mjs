// partysocket, which reconnects, over ws.
import { WebSocket as PartySocket } from "partysocket";
import WebSocket from "ws";
import { run } from "./common.mjs";
import { standard } from "./standard.mjs";

await run(standard((url) => new PartySocket(url, [], { WebSocket })));
