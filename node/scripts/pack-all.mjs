// Packs the package and its native module into two tarballs in `packed/`. The module has to be built before.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const node = dirname(dirname(fileURLToPath(import.meta.url)));
const packed = join(node, "packed");
const stage = mkdtempSync(join(tmpdir(), "realtime-pack-"));
rmSync(packed, { recursive: true, force: true });
mkdirSync(packed);

const manifest = JSON.parse(readFileSync(join(node, "package.json"), "utf8"));
const { devDependencies: _, scripts: __, prettier: ___, ...published } = manifest;
// Only the published package names them: in the workspace the loader takes the local build.
published.optionalDependencies = {};

for (const platform of readdirSync(join(node, "npm"))) {
  const file = `realtime.${platform}.node`;
  const native = JSON.parse(readFileSync(join(node, "npm", platform, "package.json"), "utf8"));
  published.optionalDependencies[native.name] = manifest.version;
  if (!existsSync(join(node, file))) continue;
  pack(platform, { ...native, version: manifest.version }, [[join(node, file), file]]);
}
pack("main", published, [
  [join(node, "dist"), "dist"],
  [join(node, "bin"), "bin"],
  [join(node, "README.md"), "README.md"],
]);
rmSync(stage, { recursive: true });
for (const tarball of readdirSync(packed)) console.log(join(packed, tarball));

function pack(name, manifest, files) {
  const directory = join(stage, name);
  mkdirSync(directory);
  writeFileSync(join(directory, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  for (const [from, to] of files) cpSync(from, join(directory, to), { recursive: true });
  execFileSync("npm", ["pack", "--silent", "--pack-destination", packed], { cwd: directory, stdio: "ignore" });
}
