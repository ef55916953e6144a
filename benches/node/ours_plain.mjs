// This project on the `plain` dialect: the very frames that the raw WebSocket libraries get.
import { run } from "./common.mjs";
import { ours } from "./ours.mjs";

await run(ours("plain", "plain"));
