import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { packageDirectory, run } from "./support.mjs";

test("without a native module the error says what to do", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "realtime-bare-"));
  t.after(() => rmSync(directory, { recursive: true }));
  cpSync(join(packageDirectory, "dist"), join(directory, "dist"), { recursive: true });
  const source = `
    const { WebSocketClient } = require("./dist/index.js");
    try { new WebSocketClient({ url: "ws://localhost" }); } catch (error) { console.log(error.message); }`;
  const output = execFileSync(process.execPath, ["-e", source], { cwd: directory, encoding: "utf8" });
  assert.match(output, /no native module for this platform \(\w+-\w+(-\w+)?\)/);
  assert.match(output, /npm run build:native/);
});

test("the quick start of the README runs as it stands", async () => {
  const readme = readFileSync(join(packageDirectory, "README.md"), "utf8");
  const [, program] = /## Quick start\s+```js\n([^]*?)```/.exec(readme);
  const { code, stdout, stderr } = await run(program);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.equal(stdout, "hello at offset 1\nthe server has it: 1\n");
});

for (const page of ["recovery", "backpressure", "outbox", "presence", "collections"]) {
  test(`the example of docs/${page}.md runs as it stands`, async () => {
    const text = readFileSync(join(packageDirectory, "..", "docs", `${page}.md`), "utf8");
    const [, program] = /<!-- run: node -->\n```js\n([^]*?)```/.exec(text);
    const [, printed] = /```text\n([^]*?)```/.exec(text);
    const { code, stdout, stderr } = await run(program);
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: printed, stderr: "" });
  });
}
