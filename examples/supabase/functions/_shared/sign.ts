// Signs a request to a Waylume node, with Web Crypto alone: docs/trust.md says what each claim is. Runs in Deno, Supabase Edge
// Functions, browsers' workers and Node.

export type Algorithm = "HS256" | "EdDSA" | "ES256";
export type Key = { id: string; algorithm: Algorithm; key: CryptoKey };
export type Claims = { subject: string; audience: string; scopes: string[]; lifetime?: number };

const text = new TextEncoder();
const base64url = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const part = (value: unknown) => base64url(text.encode(JSON.stringify(value)));
const spell = (s: string) => encodeURIComponent(s).replace(/[!'()*]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
const parameters = {
  HS256: { name: "HMAC", hash: "SHA-256" },
  EdDSA: { name: "Ed25519" },
  ES256: { name: "ECDSA", hash: "SHA-256", namedCurve: "P-256" },
};

/** Imports a key: a secret of 32 bytes or more for HS256, else a private key in PKCS #8 (DER). */
export async function importKey(id: string, algorithm: Algorithm, bytes: BufferSource): Promise<Key> {
  const format = algorithm === "HS256" ? "raw" : "pkcs8";
  return { id, algorithm, key: await crypto.subtle.importKey(format, bytes, parameters[algorithm], false, ["sign"]) };
}

/** Returns the request with a token of its own in the header Authorization: good once, for 30 s unless claims say otherwise. */
export async function sign(request: Request, { id, algorithm, key }: Key, claims: Claims): Promise<Request> {
  const url = new URL(request.url);
  const body = request.body ? new Uint8Array(await request.arrayBuffer()) : new Uint8Array();
  const pairs = [...url.searchParams].map(([name, value]) => [spell(name), spell(value)]);
  const query = pairs.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0).map((pair) => pair.join("=")).join("&");
  const iat = Math.floor(Date.now() / 1000);
  const signed = part({ alg: algorithm, kid: id, typ: "JWT" }) + "." + part({
    sub: claims.subject,
    aud: claims.audience,
    scope: claims.scopes.join(" "),
    iat,
    exp: iat + (claims.lifetime ?? 30),
    jti: crypto.randomUUID(),
    htm: request.method,
    path: url.pathname,
    query,
    digest: base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", body))),
  });
  const signature = await crypto.subtle.sign(parameters[algorithm], key, text.encode(signed));
  const headers = new Headers(request.headers);
  headers.set("Authorization", `Bearer ${signed}.${base64url(new Uint8Array(signature))}`);
  const { method, signal } = request;
  return new Request(request.url, { method, headers, signal, body: body.length ? body : undefined, redirect: "error" });
}
