// Bytes as text, and back.

export const text = new TextEncoder();

/** Base64url without padding (RFC 4648, section 5). */
export const base64url = (bytes: Uint8Array) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** The bytes of base64, or undefined if it is none. */
export function fromBase64(s: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(s), (c) => c.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** The bytes of base64url without padding, written in the one way there is; undefined of anything else. */
export function fromBase64url(s: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (typeof s !== "string" || !/^[A-Za-z0-9_-]*$/.test(s)) return undefined;
  const bytes = fromBase64(s.replaceAll("-", "+").replaceAll("_", "/"));
  return bytes && base64url(bytes) === s ? bytes : undefined;
}

export const hex = (bytes: Uint8Array) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

export const sha256 = async (bytes: BufferSource) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

/** A UUID in lower case, as all of Waylume's are. */
export const isUUID = (s: unknown): s is string =>
  typeof s === "string" && /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(s);
