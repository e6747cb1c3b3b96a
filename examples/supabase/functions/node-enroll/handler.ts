// A new node comes with a token that was made for it, and gets a credential; one that has a credential gets another.

import { transaction } from "../_shared/db.ts";
import { fromBase64url, hex, sha256, text } from "../_shared/encoding.ts";
import { controlKeys } from "../_shared/keys.ts";
import { audience, authenticate } from "../_shared/nodeauth.ts";
import { answer, parseObject, Problem, unauthenticated } from "../_shared/problem.ts";
import { type Call, serve } from "../_shared/serve.ts";

// Nobody has shown who they are before the database has read an enrollment: a real one has a few KiB.
export const handler = serve("node-enroll", { "": { run: enroll, limit: 32 << 10 }, "/rotate": { run: rotate, limit: 1 << 10 } });

async function enroll({ body }: Call): Promise<Response> {
  const { token, credential, registration } = parseObject(body);
  if (fromBase64url(token)?.length !== 32) throw unauthenticated("the token is none: it has 43 characters of base64url");
  const key = publicKey(credential);
  // A function that lacks its keys finds out before the token is used.
  const keys = await controlKeys();
  const hash = hex(await sha256(text.encode(token as string)));
  let enrolled: { registered: unknown; credential: string };
  try {
    const [row] = await transaction((tx) =>
      tx<{ enrolled: string }[]>`
        select fleet_enroll(decode(${hash}, 'hex'), decode(${hex(key)}, 'hex'), ${JSON.stringify(registration ?? null)}::text::jsonb)::text
          as enrolled`
    );
    enrolled = JSON.parse(row.enrolled);
  } catch (error) {
    // A token that is not good is 401; a good one that does not go with the registration is 403.
    if (error instanceof Problem && error.word === "denied" && error.message.startsWith("the token")) {
      throw unauthenticated(error.message);
    }
    throw error;
  }
  const urls = (Deno.env.get("WAYLUME_FLEET_URLS") ?? "").split(/[\s,]+/).filter((url) => url);
  return answer({ ...enrolled, audience, control_keys: keys, urls });
}

async function rotate(call: Call): Promise<Response> {
  const node = await authenticate(call);
  const key = publicKey(parseObject(call.body).credential);
  const [{ credential }] = await transaction((tx) =>
    tx<{ credential: string }[]>`select fleet_rotate(${node.credential}, decode(${hex(key)}, 'hex')) as credential`
  );
  return answer({ credential });
}

/** The Ed25519 key of {"public_key": base64url}. */
function publicKey(credential: unknown): Uint8Array {
  const { public_key } = (credential ?? {}) as Record<string, unknown>;
  const key = fromBase64url(public_key);
  if (key?.length !== 32) throw new Problem("invalid", "credential.public_key: an Ed25519 key is 32 bytes in base64url without padding");
  return key;
}
