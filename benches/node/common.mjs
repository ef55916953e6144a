// Runs a subject, and prints one line of JSON at the end.
//
// node <subject>.mjs <kind> <size> <channels> <count> <port>; BENCH_LIMIT: seconds until a run without an end fails.
import { measures, missing } from "./cases.mjs";
import { fail, peak } from "./measure.mjs";
import { Case } from "./subject.mjs";

export { sendAcknowledged, sendInBursts } from "./subject.mjs";

const LIMIT = Number(process.env.BENCH_LIMIT ?? 100);

/**
 * Runs a subject: an object with
 * - `open(case, handlers)`: connects and subscribes; each handler then gets the parsed payloads of its channel;
 * - `send(payload)`: sends one message to the first channel, and need not wait for a receipt;
 * - `sendAll(payloads)`: sends many, as fast as the library allows, and waits for their receipts where it has such;
 * - `request(payload)`: sends one and waits for its receipt, where the library has such;
 * - `close()`.
 */
export async function run(make) {
  const [kind, size, channels, count, port] = process.argv.slice(2);
  const measured = async (count) => {
    missing.length = 0;
    const late = () => fail(`after ${LIMIT} s there is not: ${missing.map((what) => what()).join("; ")}`);
    const limit = setTimeout(late, LIMIT * 1000);
    const result = await measures[kind](make, new Case(kind, size, Number(channels), count, Number(port)));
    clearTimeout(limit);
    return result;
  };
  // What a warm-up leaves behind would hide what connections need.
  if (kind !== "idle") await measured(Math.ceil(Number(count) / 4));
  const result = await measured(Number(count));
  // Some libraries keep timers; a pipe wants to be written out first.
  process.stdout.write(`${JSON.stringify({ ...result, rss: peak() })}\n`, () => process.exit(0));
}
