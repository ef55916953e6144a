import { deepFreeze } from "./freeze.js";

/** Stable codes of what can go wrong; the same in every language. Those of the server are in the protocol, section 10. */
export type ErrorCode =
  | "invalid_option"
  | "invalid_url"
  | "invalid_payload"
  | "invalid_name"
  | "queue_full"
  | "dropped"
  | "closed"
  | "rejected"
  | "connection_lost"
  | "connect_failed"
  | "tls_failed"
  | "http_status"
  | "unauthenticated"
  | "timeout"
  | "heartbeat_timeout"
  | "token_failed"
  | "protocol_error"
  | "unsupported"
  | "max_attempts"
  | "not_tracked"
  | "deferred"
  | "outbox_in_use"
  | "outbox_damaged"
  | "storage_failed"
  | "handler_failed"
  | "malformed"
  | "unknown_type"
  | "payload_too_large"
  | "frame_too_large"
  | "too_many_channels"
  | "rate_limited"
  | "too_many_inflight"
  | "forbidden"
  | "unauthorized"
  | "conflict"
  | "not_found"
  | "invalid_record"
  | "collection_full"
  | "presence_full"
  | "no_handler"
  | "unavailable"
  | "internal"
  | "refused"
  // Codes of later servers stay assignable, and the known ones stay in completions.
  | (string & {});

/** What is known about a failure besides its code and message. */
export interface ErrorDetails {
  /** The HTTP status, for an upgrade that was answered with one. */
  status?: number | null | undefined;
  /** The close code, where a close caused it. */
  closeCode?: number | null | undefined;
  /** When to try again, in milliseconds, where the server said so. */
  retryAfter?: number | null | undefined;
  /** The record as the server has it, with `conflict`. */
  record?: unknown;
  /** The revision of that record. */
  revision?: number | null | undefined;
  /** What was thrown. */
  cause?: unknown;
}

/** A failure: a stable `code`, and a message that says what happened, to what, and what to do. */
export class RealtimeError extends Error {
  override readonly name = "RealtimeError";
  readonly code: ErrorCode;
  /** The HTTP status, for an upgrade that was answered with one. */
  readonly status?: number;
  /** The close code, where a close caused it. */
  readonly closeCode?: number;
  /** When to try again, in milliseconds, where the server said so. */
  readonly retryAfter?: number;
  /** The record as the server has it, with `conflict`; `undefined` where it has none. */
  readonly current?: any;
  /** The revision of that record. */
  readonly revision?: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    const { status, closeCode, retryAfter, record, revision } = details;
    if (status != null) this.status = status;
    if (closeCode != null) this.closeCode = closeCode;
    if (retryAfter != null) this.retryAfter = retryAfter;
    if (record != null) this.current = deepFreeze(record);
    if (revision != null) this.revision = revision;
  }
}

/** An error as the native side describes it. */
export interface NativeError extends ErrorDetails {
  code: string;
  message: string;
}

/** @internal */
export function fromNative(error: NativeError): RealtimeError {
  return new RealtimeError(error.code, error.message, error);
}

/** Calls into the native module, whose exceptions carry their error as JSON. @internal */
export function native<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw translate(thrown);
  }
}

/** @internal */
export function translate(thrown: unknown): unknown {
  if (thrown instanceof Error && thrown.message.startsWith("{")) {
    try {
      return fromNative(JSON.parse(thrown.message) as NativeError);
    } catch {
      // Not one of ours.
    }
  }
  return thrown;
}

/** What was thrown, in words; it may be anything. @internal */
export function describe(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    return "something that has no text";
  }
}

/** Where an error comes from, where it says so. @internal */
export function stackOf(thrown: unknown): string | undefined {
  try {
    return thrown instanceof Error && typeof thrown.stack === "string" ? thrown.stack : undefined;
  } catch {
    return undefined;
  }
}
