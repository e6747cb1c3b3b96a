// What users may do, and what nodes are told of it: migrations/*_plans.sql and *_limits.sql have the rules.

import { transaction, type Tx } from "./db.ts";
import { limits, live, peerPath } from "./live.ts";
import { askNode, NodeError } from "./nodeapi.ts";
import { Problem } from "./problem.ts";
import { endSession, place } from "./sessions.ts";

/** What a user may do now. left_over are bytes; null: there is no cap. */
export type Allowance = { plan: string; left_over: number | null; max_sessions: number; pools: string[]; features: string[] };

/** The largest packet, in bytes: a node lets nothing pass any more once one did not fit into what was left. */
const packet = 1_500;

/** The user's plan, or the problem that there is none, or that all is used. */
export async function allowance(tx: Tx, user: string): Promise<Allowance> {
  const [row] = await tx`select to_jsonb(a) as found from vpn_allowance(${user}) a`;
  if (!row) throw new Problem("no-plan", "there is no subscription that is paid for: subscribe, or mend the payment");
  const found = row.found as Allowance;
  if (found.left_over !== null && found.left_over < packet) {
    throw new Problem(
      "used-up",
      `all that the plan ${found.plan} has for this month is used: take another plan, or wait for the next month`,
    );
  }
  return found;
}

/** What became of a round of telling nodes. */
export type Told = { told: number; ended: number; failed: number };

/** Whose sessions: a user's, or those of the users in a usage report. */
export type Whose = { user: string } | { server: string; sequence: number };

/**
 * Brings live sessions into line with plans: tells nodes the limits that have changed, and ends sessions that are not served any
 * more. What a node could not be told stays different, and is told the next time. Nothing is begun after the deadline.
 */
export async function enforce(whose: Whose, deadline: number): Promise<Told> {
  return await mend(
    await transaction((tx) => {
      const users = "user" in whose
        ? tx`select ${whose.user}::text`
        : tx`select u.user_id from vpn_usage u where u.server_id = ${whose.server}::uuid and u.sequence = ${whose.sequence}`;
      return different(tx, tx`w.user_id in (${users})`);
    }),
    deadline,
  );
}

/** The same for everybody, in parts: a run that does not come to the end leaves no one out for good, since each begins elsewhere. */
export async function enforceAll(deadline: number): Promise<Told> {
  const result = { told: 0, ended: 0, failed: 0 };
  const start = crypto.randomUUID();
  const none = "00000000-0000-0000-0000-000000000000";
  for (const { first, last } of [{ first: start, last: null }, { first: none, last: start }]) {
    for (let after: string | null = first; after && Date.now() < deadline;) {
      const { next, found } = await transaction(async (tx) => {
        const part = tx`select id from vpn_sessions where state <> 'ended' and id > ${after}::uuid
          and (${last}::uuid is null or id <= ${last}::uuid) order by id limit 2000`;
        const [{ next }] = await tx`select max(id::text) as next from (${part}) p`;
        return { next: next as string | null, found: await different(tx, tx`w.session_id = any (array(${part}))`) };
      });
      const { told, ended, failed } = await mend(found, deadline);
      result.told += told;
      result.ended += ended;
      result.failed += failed;
      after = next;
    }
  }
  return result;
}

type Different = { id: string; goes_on: boolean };

/** Sessions that are to be ended, or whose node has to be told something. */
async function different(tx: Tx, which: ReturnType<Tx>): Promise<Different[]> {
  return await tx`select w.session_id::text as id, w.served and w.allowed as goes_on from vpn_wanted w
    where ${which} and (not (w.served and w.allowed) or w.state = 'active' and not w.told)`;
}

async function mend(sessions: Different[], deadline: number): Promise<Told> {
  const result = { told: 0, ended: 0, failed: 0 };
  await each(sessions, deadline, async ({ id, goes_on }) => {
    try {
      if (!goes_on) {
        await endSession(id, "plan");
        result.ended++;
      } else if (await tell(id)) result.told++;
    } catch (error) {
      result.failed++;
      console.error(JSON.stringify({ session: id, error: String(error) }));
    }
  });
  return result;
}

/** Does what a usage report calls for, within some 5 s. It never throws: what was not done, session-cleanup does. */
export async function afterUsage(server: string, sequence: number): Promise<void> {
  try {
    await enforce({ server, sequence }, Date.now() + 5_000);
  } catch (error) {
    console.error(JSON.stringify({ server, sequence, error: String(error) }));
  }
}

/** Calls f for each of a list, four at a time, and begins none after the deadline. */
export async function each<T>(list: Iterable<T>, deadline: number, f: (one: T) => Promise<void>): Promise<void> {
  const queue = [...list];
  const work = async () => {
    for (let one = queue.shift(); one !== undefined && Date.now() < deadline; one = queue.shift()) await f(one);
  };
  await Promise.all(Array.from({ length: 4 }, work));
}

/**
 * Tells the node of a session its limits, and returns whether there was anything to tell. What is wanted is read after the peer's
 * entity tag: so of two who tell at once, the one with the older wishes is refused, or comes first.
 */
async function tell(id: string): Promise<boolean> {
  for (let tries = 0; tries < 3; tries++) {
    const before = await live(id);
    const [claim] = await transaction((tx) =>
      tx`update vpn_limits set known = false, attempt = attempt + 1 where session_id = ${id}::uuid returning attempt`
    );
    if (!before || !claim) return false;
    const path = peerPath(before.public_key);
    try {
      const peer = await askNode(before.server, { method: "GET", path });
      const now = await live(id);
      if (!now || now.generation !== before.generation) return false;
      await askNode(now.server, { method: "PATCH", path, body: limits(now), ifMatch: peer.etag });
      await transaction((tx) =>
        tx`update vpn_limits set known = true, download = ${now.download}, upload = ${now.upload}, cap = ${now.cap}
          where session_id = ${id}::uuid and generation = ${now.generation} and attempt = ${claim.attempt}`
      );
      return true;
    } catch (error) {
      if (error instanceof NodeError && error.status === 412) continue; // somebody else has changed the peer
      if (error instanceof NodeError && error.status === 404) { // the node has lost it
        await place(id, 0, 1);
        return true;
      }
      throw error;
    }
  }
  throw new Error("the peer keeps changing");
}
