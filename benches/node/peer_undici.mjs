// The WebSocket of undici, which newer versions of Node have built in.
import { WebSocket } from "undici";
import { run } from "./common.mjs";
import { standard } from "./standard.mjs";

await run(standard((url) => new WebSocket(url)));
