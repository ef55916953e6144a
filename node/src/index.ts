export { RealtimeChannel } from "./channel.js";
export type { ChannelEventName, ChannelEvents, ChannelHandler, ChannelState, Loader } from "./channel.js";
export { WebSocketClient } from "./client.js";
export { RealtimeCollection } from "./collection.js";
export type { AnyRecord, CollectionChange, CollectionEvents, NewRecord, Patch, SyncReason } from "./collection.js";
export type {
  ClientEventName,
  ClientEvents,
  ClientHandler,
  CloseInfo,
  OpenInfo,
  StatusDetail,
} from "./client-events.js";
export { RealtimeError } from "./errors.js";
export type { ErrorCode, ErrorDetails } from "./errors.js";
export { RealtimeManager, realtimeManager } from "./manager.js";
export type { ChannelMessage, Gap, Message, Position, Receipt } from "./message.js";
export type { ClientOptions, InboxOptions, QueueOptions, ReconnectOptions, TokenProvider } from "./options.js";
export { RealtimePresence } from "./presence.js";
export type { PresenceEvents, PresenceInfo, PresenceStatus, PresenceUser } from "./presence.js";
export type { StalledHandler } from "./stalls.js";
export type { Dump, Quality, Stats, Status } from "./stats.js";
