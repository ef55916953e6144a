// A Node member of the team: `editor.mjs NAME URL EDITS`. Does what `team.py` says on stdin, and tells it with JSON lines.
// The same as `editor.py` beside it, in the manner of its language.
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocketClient } from "realtime-client";

const [name, url, edits] = process.argv.slice(2);
const SHARED = ["docs", "release", "tests"];
const tell = (message) => console.log(JSON.stringify(message));

const client = new WebSocketClient({ url, reconnect: { first: 50, base: 200, max: 1000 } });
client.on("error", (error) => console.error(`${name}: ${error.message}`));
await client.connect();
const team = client.channel("team");
const tasks = team.collection("tasks");
await tasks.ready();
const revision = tasks.revision("release");

/** Edits the tasks, without waiting for one edit before the next, and counts what became of them. */
async function edit() {
  const counts = { inserts: 0, updates: 0, removes: 0, conflicts: 0, failed: 0 };
  const running = [];
  const count = (kind, promise) => {
    const done = () => (counts[kind] += 1);
    const failed = ({ code }) => (counts[code === "conflict" ? "conflicts" : "failed"] += 1);
    running.push(promise.then(done, failed));
  };
  // Who is first takes the release; it is no more at that revision for the other.
  count("updates", tasks.update("release", { owner: name }, { ifRevision: revision }));
  for (let number = 1; number < Number(edits) - 1; number += 1) {
    if (number % 5 === 0) {
      const task = { id: `${name}-${padded(number)}`, title: `idea ${number} of ${name}`, done: false };
      count("inserts", tasks.insert(task));
    } else if (number % 20 === 14) {
      count("removes", tasks.remove(`${name}-${padded(number - 4)}`));
    } else {
      count("updates", tasks.update(SHARED[number % 3], { done: number % 2 === 0, [`by ${name}`]: number }));
    }
    await delay(15);
  }
  count("updates", tasks.update("release", { [`signed by ${name}`]: true }));
  await Promise.all(running);
  return counts;
}

/** Waits until both have signed, which is the last that both do. */
async function everythingIsHere() {
  const signed = () => ["python", "node"].every((each) => tasks.get("release")?.[`signed by ${each}`]);
  while (!signed()) await new Promise((resolve) => tasks.once("change", resolve));
}

const padded = (number) => String(number).padStart(2, "0");

tell({ state: "ready" });
for await (const word of createInterface({ input: process.stdin })) {
  if (word === "edit") {
    tell({ state: "edited", ...(await edit()), reconnects: client.getStats().reconnects });
  } else if (word === "show") {
    await everythingIsHere();
    tell({ state: "shown", tasks: tasks.data });
  } else if (word === "join") {
    await team.presence.track({ id: name, language: "Node" });
  } else {
    await team.presence.updateStatus(word);
  }
}
await client.disconnect();
