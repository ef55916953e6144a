// Builds the native module and puts it where the loader finds it. REALTIME_PROFILE is `dev` (default), `release` or `dist`.
import { execFileSync } from "node:child_process";
import { copyFileSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const node = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(node);
const profile = process.env.REALTIME_PROFILE ?? "dev";
execFileSync("cargo", ["build", "-p", "realtime-node", "--profile", profile], { cwd: root, stdio: "inherit" });

const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
const { platform, arch } = process;
const [library, triple] = {
  linux: ["librealtime_node.so", `linux-${arch}-gnu`],
  darwin: ["librealtime_node.dylib", `darwin-${arch}`],
  win32: ["realtime_node.dll", `win32-${arch}-msvc`],
}[platform];
const from = join(target, profile === "dev" ? "debug" : profile, library);
const to = join(node, `realtime.${triple}.node`);
// Under another name first: a process that has the old one loaded must not see it change.
copyFileSync(from, `${to}.new`);
renameSync(`${to}.new`, to);
console.log(`${to} (${profile})`);
