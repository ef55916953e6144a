#!/usr/bin/env node
"use strict";
// The command of the server: `npx realtime serve --port 8080`.
const { nativeModule } = require("../dist/native.js");

process.exitCode = nativeModule().runCli(["realtime", ...process.argv.slice(2)]);
