// Time, processor time and memory of this process.
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Ends the process: libraries catch what handlers throw. */
export function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Time and processor time from here on. */
export function start() {
  const begun = performance.now();
  const cpu = process.cpuUsage();
  return {
    stop(count, more) {
      const seconds = (performance.now() - begun) / 1000;
      const { user, system } = process.cpuUsage(cpu);
      return { count, seconds, cpu: (user + system) / 1e6, times: [], ...more };
    },
  };
}

/** The memory that this process uses now, in bytes, once nothing is left to collect. */
export async function resident() {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  for (let pass = 0; pass < 3; pass++) {
    collect();
    // What is freed in a finaliser is freed in a later turn.
    await new Promise(setImmediate);
  }
  return process.memoryUsage.rss();
}

/** The most that it has used; 0 where the system does not say. */
export function peak() {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
  } catch {
    return 0;
  }
}
