// Who a node is: its requests are signed with the key of its credential, each good once (docs/fleet-protocol.md, docs/trust.md).

import { transaction } from "./db.ts";
import { jose } from "./deps.ts";
import { base64url, isUUID, sha256 } from "./encoding.ts";
import { Problem, unauthenticated } from "./problem.ts";
import type { Call } from "./serve.ts";

/** The audience that nodes sign for. */
export const audience = "waylume-fleet";

/** By how many seconds two clocks may differ, and for how many a token may count. */
const skew = 5, lifetime = 60;

/** A credential that has signed the request, and the server that it speaks for. */
export type Node = { credential: string; server: string; name: string };

type Claims = Record<string, unknown> & { iat: number; exp: number; jti: string };

/** The node that has signed a request; anything that is not right about it is a problem. Its token is used up by that. */
export async function authenticate({ request, path, url, body }: Call): Promise<Node> {
  const token = bearer(request);
  const credential = keyID(token);
  const [known] = await transaction((tx) =>
    tx<{ key: Uint8Array; server: string; name: string; revoked: boolean }[]>`
      select public_key as key, server_id as server, name, revoked from fleet_credential(${credential})`
  );
  if (!known) throw unauthenticated("the credential is not known: the node has to be enrolled");
  if (known.revoked) throw unauthenticated("the credential was revoked: the node has to be enrolled again");
  const claims = await verified(token, known.key);
  const wanted: Record<string, string> = {
    sub: known.server,
    aud: audience,
    scope: "node",
    htm: request.method,
    path,
    query: url.search.replace(/^\?/, ""),
    digest: base64url(await sha256(body)),
  };
  for (const [name, value] of Object.entries(wanted)) {
    if (claims[name] !== value) throw unauthenticated(`the token's ${name} is not that of this request`);
  }
  onTime(claims, Date.now() / 1000);
  const [{ outcome }] = await transaction((tx) =>
    tx<{ outcome: string }[]>`select fleet_use_token(${credential}, ${claims.jti}, to_timestamp(${claims.exp})) as outcome`
  );
  if (outcome === "used") throw unauthenticated("the token was used before: sign each request anew");
  if (outcome !== "ok") throw unauthenticated("the credential was revoked: the node has to be enrolled again");
  return { credential, server: known.server, name: known.name };
}

function bearer(request: Request): string {
  const header = request.headers.get("Authorization") ?? "";
  const token = /^Bearer ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i.exec(header)?.[1];
  if (!token) throw unauthenticated("the header Authorization must be Bearer and a token that the node has signed");
  if (token.length > 8192) throw unauthenticated("the token has more than 8,192 bytes");
  return token;
}

/** The credential that a token names: its header must be what it is to be, and chooses nothing else. */
function keyID(token: string): string {
  let header: Record<string, unknown>;
  try {
    header = jose.decodeProtectedHeader(token);
  } catch {
    throw unauthenticated("the token is no JWT");
  }
  const { alg, kid, typ, ...others } = header;
  if (alg !== "EdDSA" || (typ !== undefined && typ !== "JWT") || Object.keys(others).length) {
    throw unauthenticated("the token's header must have alg EdDSA, kid, typ JWT, and nothing else");
  }
  if (!isUUID(kid)) throw unauthenticated("the credential is not known: the node has to be enrolled");
  return kid;
}

/** The claims of a token that this key has signed: those that there must be, each of its type, and no other. */
async function verified(token: string, publicKey: Uint8Array): Promise<Claims> {
  let claims: Record<string, unknown>;
  try {
    const key = await jose.importJWK({ kty: "OKP", crv: "Ed25519", x: base64url(publicKey) }, "EdDSA");
    const { payload } = await jose.compactVerify(token, key, { algorithms: ["EdDSA"] });
    claims = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    throw unauthenticated("the token is not signed with the credential's key");
  }
  const strings = ["sub", "aud", "jti", "htm", "path", "query", "digest", "scope"], numbers = ["iat", "exp"];
  const complete = typeof claims === "object" && claims !== null && Object.keys(claims).length === strings.length + numbers.length &&
    strings.every((name) => typeof claims[name] === "string") && numbers.every((name) => Number.isSafeInteger(claims[name]));
  if (!complete) throw unauthenticated(`the token must have the claims ${[...strings, ...numbers].join(", ")}, and no other`);
  const { jti, iat, exp } = claims as Claims;
  if (!/^[\x21-\x7e]{16,128}$/.test(jti)) throw unauthenticated("the token's jti must have 16 to 128 characters, all visible ASCII");
  if (exp <= iat || exp - iat > lifetime) throw unauthenticated(`the token must end after it begins, by ${lifetime} s at most`);
  return claims as Claims;
}

/** A node whose clock is off is told so, and by the answer's header Date what the time is: it may sign again. */
function onTime({ iat, exp }: Claims, now: number) {
  if (iat > now + skew) throw new Problem("clock", `the token is of ${Math.ceil(iat - now)} s from now, by the fleet's clock`);
  if (exp < now - skew) throw new Problem("clock", `the token has expired ${Math.ceil(now - exp)} s ago, by the fleet's clock`);
}

/** Refuses a body that speaks of another server than the node's own. */
export function ownServer(node: Node, body: Record<string, unknown>) {
  if (body.server !== node.server) throw new Problem("denied", "the credential speaks for another server than the body's");
}
