// A client's way onto the fleet: the user's token and a WireGuard public key in, the configuration of a tunnel out. The same request
// again gives the same session as it is now, so that a client learns from it where its session has been moved to.

import { cors } from "../_shared/cors.ts";
import { transaction } from "../_shared/db.ts";
import { allowance, enforce } from "../_shared/plans.ts";
import { answer, parseObject, Problem } from "../_shared/problem.ts";
import { type Call, serve } from "../_shared/serve.ts";
import { place } from "../_shared/sessions.ts";
import { authenticateUser } from "../_shared/userauth.ts";
import { readWishes, type Wishes } from "../_shared/wishes.ts";

export const handler = cors(serve("connection-request", { "": { run: connect, limit: 8 << 10 } }));

/** No server is begun with after so many ms: what one takes, and the answer, have room below the limit of serve. */
const patience = 12_000;

type Wanted = { user: string; key: string; publicKey: string; wishes: Wishes };

async function connect(call: Call): Promise<Response> {
  const deadline = Date.now() + patience;
  const { id: user } = await authenticateUser(call.request);
  const { session, state } = await begin(read(call, user));
  if (state === "ended") throw new Problem("ended", "the session of this idempotency key has ended: ask with another one");
  const placed = await place(session, deadline);
  // A plan that has changed just now: usually there is nothing to tell.
  await enforce({ user }, deadline);
  const { region, country, city, name } = placed.server;
  return answer({ session, generation: placed.generation, server: { name, region, country, city }, ...placed.config });
}

/** Reads the request. The idempotency key may be a header, too. */
function read({ request, body }: Call, user: string): Wanted {
  const fields = parseObject(body);
  const wishes = readWishes(fields, ["public_key", "idempotency_key"]);
  const key = fields.idempotency_key ?? request.headers.get("Idempotency-Key");
  if (typeof key !== "string" || !/^[\x21-\x7e]{8,128}$/.test(key)) {
    throw new Problem("invalid", "idempotency_key must be 8 to 128 visible characters: a UUID, one for each session");
  }
  const publicKey = fields.public_key;
  if (typeof publicKey !== "string" || !/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(publicKey)) {
    throw new Problem("invalid", "public_key must be a WireGuard public key: 32 bytes in base64, 44 characters");
  }
  return { user, key, publicKey, wishes };
}

/** The session of the request: a new one if the plan allows it, or the one that there is. */
function begin({ user, key, publicKey, wishes }: Wanted): Promise<{ session: string; state: string }> {
  return transaction(async (tx) => {
    // Of two requests of a user one waits, so that both together do not get more sessions than the plan has.
    await tx`select pg_advisory_xact_lock(hashtextextended(${"waylume-user:" + user}, 0))`;
    const plan = await allowance(tx, user);
    const [{ known, others }] = await tx`select coalesce(bool_or(idempotency_key = ${key}), false) as known,
        (count(*) filter (where state <> 'ended' and idempotency_key <> ${key}))::int as others
      from vpn_sessions where user_id = ${user} and (state <> 'ended' or idempotency_key = ${key})`;
    const pool = wishes.pool ?? plan.pools[0];
    if (!known) {
      if (!plan.pools.includes(pool)) throw new Problem("not-in-plan", `the plan ${plan.plan} does not have the pool ${pool}`);
      const missing = wishes.features?.find((feature) => !plan.features.includes(feature));
      if (missing) throw new Problem("not-in-plan", `the plan ${plan.plan} does not have the feature ${missing}`);
      if (others >= plan.max_sessions) {
        throw new Problem("too-many-sessions", `the plan ${plan.plan} has ${plan.max_sessions} at a time: end another session first`);
      }
    }
    const days = Number(Deno.env.get("WAYLUME_SESSION_DAYS") || 30);
    const wanted = {
      user,
      idempotency_key: key,
      public_key: publicKey,
      query: { ...wishes, pool },
      expires_at: new Date(Date.now() + days * 86_400_000).toISOString(),
    };
    const [row] = await tx`select s ->> 'id' as session, s ->> 'state' as state
      from waylume_session_begin(${JSON.stringify(wanted)}::text::jsonb) s`;
    return row as { session: string; state: string };
  });
}
