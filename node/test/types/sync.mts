// Compiled, never run: what presence and collections accept and refuse.
import {
  WebSocketClient,
  type CollectionChange,
  type PresenceStatus,
  type PresenceUser,
  type RealtimeCollection,
  type RealtimePresence,
} from "realtime-client";

interface Task {
  id: string;
  title: string;
  done: boolean;
  tags?: string[];
}

interface Person {
  name: string;
  cursor?: { x: number; y: number };
}

const client = new WebSocketClient({ url: "ws://127.0.0.1:1" });
const channel = client.channel<{ said: string }, Person>("room");

const presence: RealtimePresence<Person> = channel.presence;
await presence.track({ id: 7, name: "Ann" });
await presence.track({ name: "Ann" }, { status: "busy" });
// @ts-expect-error: the name is missing.
await presence.track({ id: "ann" });
// @ts-expect-error: there is no such status.
await presence.updateStatus("asleep");
await presence.update({ cursor: { x: 1, y: 2 } });
// @ts-expect-error: not of this type.
await presence.update({ name: 1 });
const users: readonly PresenceUser<Person>[] = presence.users;
const [user] = users;
if (user !== undefined) {
  const name: string = user.name;
  const status: PresenceStatus = user.status;
  const since: number = user.joinedAt;
  void [name, status, since];
  // @ts-expect-error: a snapshot.
  user.name = "Ben";
}
// @ts-expect-error: a snapshot.
users.push(users[0]!);
presence.on("join", (joined) => joined.name.length + joined.id.length);
presence.on("sync", (all) => all.map(({ name }) => name));
// @ts-expect-error: there is no such event.
presence.on("joined", () => {});

const tasks: RealtimeCollection<Task> = channel.collection<Task>("tasks", {
  initialData: [{ id: "a", title: "t", done: false }],
});
const saved: Readonly<Task> = await tasks.insert({ title: "t", done: false });
await tasks.insert({ id: "b", title: "t", done: false, tags: [] });
// @ts-expect-error: the title is missing.
await tasks.insert({ done: false });
// @ts-expect-error: an id is a string.
await tasks.insert({ id: 1, title: "t", done: false });
await tasks.update("b", { done: true }, { ifRevision: tasks.revision("b") ?? 0 });
// @ts-expect-error: there is no such field.
await tasks.update("b", { dune: true });
// @ts-expect-error: the id stays.
await tasks.update("b", { id: "c" });
const nothing: void = await tasks.remove("b");
// @ts-expect-error: a snapshot.
tasks.data[0]!.done = true;
// @ts-expect-error: a snapshot.
tasks.data.push(saved);
tasks.on("insert", (record, change) => [record.title, change.local]);
tasks.on("change", (change: CollectionChange<Task>) => change.old?.done);
tasks.on("sync", (data, reason) => [data.length, reason === "initial"]);
tasks.on("diverged", (offset) => offset + 1);
tasks.on("error", (error) => [error.code, error.current]);

const loose = client.channel("room").collection("things");
await loose.insert({ anything: 1 });
await loose.update("a", { anything: [2] });
const value: any = loose.get("a")?.["anything"];
for (const person of client.channel("room").presence.users) person["anything"];
void [nothing, value];
