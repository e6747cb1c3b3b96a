// Gets a session its peer: on the server that it is placed on, or on the next. Every step can be done again, by anybody, after a
// process was killed or an answer lost; of two who do it at once, both come to the same.

import { type ClientConfig, clientConfig, type NodeConfig, readAddresses, readNodeConfig } from "./clientconfig.ts";
import { transaction } from "./db.ts";
import { limits, type Live, live, peerPath } from "./live.ts";
import { askNode, NodeError, type Said, TooLate } from "./nodeapi.ts";
import { Problem } from "./problem.ts";

const sessionLabel = "waylume.session";
const generationLabel = "waylume.generation";

/** A session that its node serves. */
export type Placed = { session: string; generation: number; server: Live["server"]; config: ClientConfig };

/** What is known of a peer that is there. base is what had been reported when it was made; without it, it was there before. */
type Settled = { addresses: string[]; config: NodeConfig; base?: number; cap?: number | null };

/**
 * Has the session's node serve it, or the next one if that cannot: so many servers at most, and none is begun with after the deadline.
 * A session that was served, and whose node is alive but does not answer just now, stays.
 */
export async function place(id: string, deadline: number, servers = 4): Promise<Placed> {
  const tried: string[] = [];
  for (let left = servers; left > 0; left--) {
    const session = await live(id);
    if (!session) throw new Problem("conflict", "the session has ended");
    try {
      const settled = await settle(session);
      if (await confirm(session, settled)) return placed(session, settled.addresses, settled.config);
      continue; // it has been moved meanwhile
    } catch (error) {
      if (error instanceof TooLate) continue; // where it is now may be elsewhere
      if (!(error instanceof NodeError)) throw error;
      console.log(JSON.stringify({ session: id, generation: session.generation, server: session.server.name, error: error.message }));
      if (session.state === "active" && session.fresh) {
        const config = await kept(session);
        if (config) return placed(session, session.addresses, config);
      }
      if (left <= 1 || Date.now() > deadline) throw new Problem("unavailable", "no server could be reached: try again", { cause: error });
      tried.push(session.server.id);
      await move(session, tried);
    }
  }
  throw new Problem("unavailable", "the session is being moved: try again");
}

const placed = (session: Live, addresses: string[], config: NodeConfig): Placed => ({
  session: session.id,
  generation: session.generation,
  server: session.server,
  config: clientConfig(session.server, addresses, config, session.family),
});

/** Places the session on a server that is none of those, unless somebody else has just placed it. */
export async function move({ id, generation }: Pick<Live, "id" | "generation">, exclude: string[]): Promise<void> {
  try {
    await transaction((tx) => tx`select waylume_session_move(${id}::uuid, ${generation}, ${`{${exclude.join(",")}}`}::text::uuid[])`);
  } catch (error) {
    if (!(error instanceof Problem && error.word === "conflict")) throw error;
  }
}

/** Has the node make the peer, or finds it there. */
async function settle(session: Live): Promise<Settled> {
  const { id, generation, public_key, server, left_over, read } = session;
  const path = peerPath(public_key);
  // A peer that is made now counts from nothing.
  const cap = left_over === null ? null : Math.max(1, left_over);
  const spec = (addresses: string[]) => ({
    public_key,
    labels: { [sessionLabel]: id, [generationLabel]: String(generation) },
    ...limits({ ...session, cap }),
    ...(session.expires_at && { expires_at: session.expires_at }),
    ...(addresses.length && { addresses }),
  });
  const create = (key: string, addresses: string[]) =>
    askNode(server, { method: "POST", path: "/api/v1/peers", body: spec(addresses), idempotencyKey: key, read });
  const finish = async (peer: Said, made: boolean): Promise<Settled> => {
    const config = await askNode(server, { method: "GET", path: `${path}/config` });
    try {
      const { addresses } = peer.body as { addresses?: unknown };
      return { addresses: readAddresses(addresses), config: readNodeConfig(config.body), ...(made && { base: session.reported, cap }) };
    } catch (error) {
      throw new NodeError(`${server.name} answers with what it must not`, 502, undefined, error);
    }
  };

  // The first time, that is all.
  const key = `${id}.${generation}`;
  const first = await unless([409, 422], create(key, session.addresses));
  if (first?.status === 201 && !first.replayed) return await finish(first, true);

  // It was asked before, or something is in the way: what is there now counts.
  const there = await unless([404], askNode(server, { method: "GET", path }));
  if (there) {
    const labels = (there.body as { labels?: Record<string, string> }).labels ?? {};
    if (labels[sessionLabel] === id && Number(labels[generationLabel]) >= generation) return await finish(there, false);
    if (!labels[sessionLabel]) throw new NodeError(`${server.name} has a peer of this key that belongs to no session`, 409);
    // A former session of this key, or a former placement, that the node has not been told to release yet. If this session has moved
    // on meanwhile, it might be a later one's.
    if ((await live(id))?.generation !== generation) throw new TooLate("the session has moved on");
    await unless([404], askNode(server, { method: "DELETE", path, ifMatch: there.etag, read }));
  }
  // The same addresses as before, if they are to be had; a key of its own, as the former answers with what was.
  for (const addresses of session.addresses.length ? [session.addresses, []] : [[]]) {
    const again = await unless(addresses.length ? [409, 422] : [], create(`${key}.${crypto.randomUUID()}`, addresses));
    if (again) return await finish(again, again.status === 201);
  }
  throw new NodeError(`${server.name} does not make the peer`, 409);
}

/** What a node said, or undefined if it has refused with one of these statuses. */
async function unless(statuses: number[], said: Promise<Said>): Promise<Said | undefined> {
  try {
    return await said;
  } catch (error) {
    if (error instanceof NodeError && statuses.includes(error.status)) return undefined;
    throw error;
  }
}

/** Writes down that the node has the peer. False: the session has moved on, and the node will be told to let go of it. */
async function confirm({ id, generation, download, upload }: Live, { addresses, config, base, cap }: Settled): Promise<boolean> {
  const made = base !== undefined;
  try {
    await transaction(async (tx) => {
      await tx`select waylume_session_confirm(${id}::uuid, ${generation}, ${`{${addresses.join(",")}}`}::text::text[])`;
      await tx`insert into vpn_limits as l (session_id, generation, base, known, download, upload, cap, config)
        values (${id}::uuid, ${generation}, ${base ?? 0}, ${made}, ${made ? download : null}, ${made ? upload : null}, ${cap ?? null},
          ${JSON.stringify(config)}::text::jsonb)
        on conflict (session_id) do update set generation = excluded.generation, config = excluded.config, attempt = l.attempt + 1,
          base = case when ${made} or l.generation <> excluded.generation then excluded.base else l.base end,
          known = case when ${made} or l.generation <> excluded.generation then excluded.known else l.known end,
          download = case when ${made} then excluded.download else l.download end,
          upload = case when ${made} then excluded.upload else l.upload end,
          cap = case when ${made} then excluded.cap else l.cap end`;
    });
    return true;
  } catch (error) {
    if (error instanceof Problem && error.word === "conflict") return false;
    throw error;
  }
}

/** What the node has said of the configuration of this placement. */
async function kept({ id, generation }: Live): Promise<NodeConfig | undefined> {
  const [row] = await transaction((tx) => tx`select config from vpn_limits where session_id = ${id}::uuid and generation = ${generation}`);
  return row?.config;
}

/** Ends a session. Its node is asked to drop the peer at once; if it does not answer, it learns of it with its next heartbeat. */
export async function endSession(id: string, reason: string): Promise<void> {
  const [{ session, server }] = await transaction((tx) =>
    tx`select e.session, waylume_server((e.session ->> 'server')::uuid) as server
      from (select waylume_session_end(${id}::uuid, ${reason}) as session) e`
  );
  const path = peerPath(session.public_key);
  try {
    const peer = await askNode(server, { method: "GET", path, timeout: 2_000 });
    const { labels } = peer.body as { labels?: Record<string, string> };
    if (labels?.[sessionLabel] === id) await askNode(server, { method: "DELETE", path, ifMatch: peer.etag, timeout: 3_000 });
  } catch (error) {
    if (error instanceof NodeError && error.status === 404) return;
    console.log(JSON.stringify({ session: id, server: server?.name, error: String(error) }));
  }
}
