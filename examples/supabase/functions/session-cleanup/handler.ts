// What has to be done again and again, by a schedule, once a minute: sessions whose server has gone are moved to another, those that
// are over are ended, nodes are told what they could not be told before, and what is of no use any more is forgotten.

import { transaction } from "../_shared/db.ts";
import { sha256, text } from "../_shared/encoding.ts";
import { live } from "../_shared/live.ts";
import { each, enforceAll } from "../_shared/plans.ts";
import { answer, Problem, unauthenticated } from "../_shared/problem.ts";
import { type Call, serve } from "../_shared/serve.ts";
import { endSession, move, place } from "../_shared/sessions.ts";

export const handler = serve("session-cleanup", { "": { run: cleanup, limit: 1 << 10 } });

/** One run begins nothing after so many ms, and moves or ends so many sessions at most; the next one goes on. */
const patience = 15_000, most = 1_000;

/** How long a server may be silent, and a session without a confirmed placement, in seconds. */
const freshness = 60, abandoned = 600;

type Stranded = {
  id: string;
  generation: number;
  state: string;
  query: Record<string, unknown>;
  /** As a node has given them; none: no client has ever had an answer. */
  addresses?: string[];
  created_at: string;
  expires_at?: string;
};

async function cleanup({ request }: Call): Promise<Response> {
  await authenticate(request);
  const deadline = Date.now() + patience;
  const result = { moved: 0, ended: 0, stuck: 0, failed: 0 };
  const rows = await transaction((tx) => tx`select s as session, now() as now from waylume_sessions_stranded(${freshness}, ${most}) s`);
  const full = new Set<string>(); // queries that no server meets: asking for the next session is of no use
  await each(rows as Iterable<{ session: Stranded; now: Date }>, deadline, async ({ session, now }) => {
    try {
      result[await mend(session, now, deadline, full)]++;
    } catch (error) {
      result.failed++;
      console.error(JSON.stringify({ session: session.id, error: String(error) }));
    }
  });
  const { told, ended, failed } = await enforceAll(deadline);
  const pruned = await prune();
  const more = rows.length === most || Date.now() >= deadline;
  return answer({ ...result, ended: result.ended + ended, failed: result.failed + failed, told, pruned, more });
}

/** Moves or ends one session, and says which. */
async function mend(session: Stranded, now: Date, deadline: number, full: Set<string>): Promise<"moved" | "ended" | "stuck"> {
  const { id, state, query, addresses, created_at, expires_at } = session;
  if (expires_at && new Date(expires_at) <= now) {
    await endSession(id, "expired");
    return "ended";
  }
  if (!addresses && now.getTime() - Date.parse(created_at) > abandoned * 1_000) {
    await endSession(id, "abandoned"); // and its client has not asked again
    return "ended";
  }
  const present = await live(id);
  if (!present) {
    await endSession(id, "plan");
    return "ended";
  }
  if (state !== "placing" || !present.fresh || present.server.draining) {
    const wish = JSON.stringify(query);
    if (full.has(wish)) return "stuck";
    try {
      await move(session, []);
    } catch (error) {
      if (!(error instanceof Problem && error.word === "no-server")) throw error;
      full.add(wish);
      return "stuck"; // where it is, it may still be served
    }
  }
  await place(id, deadline);
  return "moved";
}

/** Forgets used tokens that have expired, and what is older than so many days; a month's usage must be whole. */
async function prune(): Promise<number> {
  const [{ n }] = await transaction((tx) =>
    tx`with tokens as (delete from fleet_used_tokens where expires_at < now() - interval '1 minute' returning 1),
        events as (delete from stripe_events where handled_at < now() - interval '90 days' returning 1)
      select (select count(*) from tokens) + (select count(*) from events) + waylume_prune(90) as n`
  );
  return Number(n);
}

/** Whoever runs the schedule has WAYLUME_CRON_SECRET, or the project's service key. */
async function authenticate(request: Request): Promise<void> {
  const given = /^Bearer (.+)$/i.exec(request.headers.get("Authorization") ?? "")?.[1] ?? "";
  const secrets = ["WAYLUME_CRON_SECRET", "SUPABASE_SERVICE_ROLE_KEY"].map((name) => Deno.env.get(name) ?? "");
  if (!secrets.some((secret) => secret)) throw new Problem("internal", "the function lacks its secret: WAYLUME_CRON_SECRET is not set");
  for (const secret of secrets) if (secret.length >= 32 && await same(given, secret)) return;
  throw unauthenticated("the header Authorization must be Bearer and the schedule's secret");
}

/** Whether two texts are the same, in a time that says nothing of where they differ. */
async function same(a: string, b: string): Promise<boolean> {
  const [x, y] = await Promise.all([sha256(text.encode(a)), sha256(text.encode(b))]);
  return x.reduce((differs, byte, i) => differs | (byte ^ y[i]), 0) === 0;
}
