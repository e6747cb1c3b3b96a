// The key that signs what the control plane asks of nodes, and what nodes are told of it.

import { fromBase64 } from "./encoding.ts";
import { Problem } from "./problem.ts";
import { type Algorithm, importKey, type Key } from "./sign.ts";

type Signer = { key: Key; publicKey: JsonWebKey };

let signer: Promise<Signer> | undefined;

/** The key in WAYLUME_SIGNING_KEY: PKCS #8 in base64, Ed25519 or P-256. WAYLUME_SIGNING_KEY_ID names it. */
export async function signingKey(): Promise<Key> {
  return (await (signer ??= load())).key;
}

/**
 * The public keys that nodes take requests from, as a JWK Set: that of the key which signs, and those in WAYLUME_CONTROL_KEYS, a JWK
 * Set of keys that are to sign next, or have signed until lately.
 */
export async function controlKeys(): Promise<{ keys: JsonWebKey[] }> {
  const { publicKey } = await (signer ??= load());
  const others = JSON.parse(Deno.env.get("WAYLUME_CONTROL_KEYS") || '{"keys":[]}').keys as JsonWebKey[];
  return { keys: [publicKey, ...others] };
}

async function load(): Promise<Signer> {
  const id = Deno.env.get("WAYLUME_SIGNING_KEY_ID");
  const der = fromBase64((Deno.env.get("WAYLUME_SIGNING_KEY") ?? "").replace(/\s+/g, ""));
  if (!id || !der?.length) {
    throw new Problem("internal", "the function lacks its key: WAYLUME_SIGNING_KEY and WAYLUME_SIGNING_KEY_ID must be set");
  }
  const kinds: [Algorithm, EcKeyImportParams | { name: string }][] = [
    ["EdDSA", { name: "Ed25519" }],
    ["ES256", { name: "ECDSA", namedCurve: "P-256" }],
  ];
  for (const [algorithm, parameters] of kinds) {
    let exportable: CryptoKey;
    try {
      exportable = await crypto.subtle.importKey("pkcs8", der, parameters, true, ["sign"]);
    } catch {
      continue;
    }
    const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", exportable);
    const publicKey = { kty, crv, x, ...(y ? { y } : {}), kid: id, alg: algorithm, use: "sig" } as JsonWebKey;
    return { key: await importKey(id, algorithm, der), publicKey };
  }
  throw new Problem("internal", "WAYLUME_SIGNING_KEY must be a private key of Ed25519 or P-256, as PKCS #8 in base64");
}
