import { RealtimeError } from "./errors.js";

/** The text of a payload that JSON can carry; anything else is an `invalid_payload`. @internal */
export function encodeJson(payload: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(payload);
  } catch (cause) {
    throw new RealtimeError("invalid_payload", `the payload is not JSON: ${(cause as Error)?.message ?? cause}`, {
      cause,
    });
  }
  if (text === undefined) {
    throw new RealtimeError(
      "invalid_payload",
      `the payload is not JSON: it is ${describe(payload)}; for none, send null`,
    );
  }
  // JSON.stringify turns NaN and Infinity into null without a word. The search is cheap, the second pass is rare.
  if (text.includes("null")) refuseNonFinite(payload);
  return text;
}

/** The text of what is to be a JSON object: bytes never are, though `JSON.stringify` makes one of them. @internal */
export function encodeObject(value: unknown): string {
  if (encodeBinary(value) !== undefined) {
    throw new RealtimeError("invalid_record", "a record is a JSON object, not bytes");
  }
  return encodeJson(value);
}

/** The bytes of a binary payload, copied because the caller may change them before they are sent. @internal */
export function encodeBinary(payload: unknown): Buffer | undefined {
  if (typeof payload !== "object") return undefined;
  if (payload instanceof Uint8Array) return Buffer.from(payload);
  if (ArrayBuffer.isView(payload)) {
    return Buffer.from(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength));
  }
  if (payload instanceof ArrayBuffer || isShared(payload)) return Buffer.from(Buffer.from(payload as ArrayBuffer));
  return undefined;
}

function isShared(payload: unknown): boolean {
  return typeof SharedArrayBuffer !== "undefined" && payload instanceof SharedArrayBuffer;
}

function refuseNonFinite(payload: unknown): void {
  JSON.stringify(payload, (key, value: unknown) => {
    if (typeof value === "number" && !Number.isFinite(value)) {
      const where = key === "" ? "" : ` (at ${JSON.stringify(key)})`;
      throw new RealtimeError("invalid_payload", `the payload is not JSON: it contains ${value}${where}`);
    }
    return value;
  });
}

function describe(value: unknown): string {
  return typeof value === "undefined" ? "undefined" : `a ${typeof value}`;
}
