#!/usr/bin/env node
"use strict";
// The command of the server: `npx realtime serve --port 8080`.
const { nativeModule } = require("../dist/native.js");

// The server takes these signals itself, and calls what was there before it: Node's default there would raise them again.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => {});
process.exit(nativeModule().runCli(["realtime", ...process.argv.slice(2)]));
