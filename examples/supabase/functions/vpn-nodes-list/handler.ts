// What a client's map shows: the servers that a session could be placed on, where they stand, and how busy they are. Of their insides
// nothing: no API, no addresses, no figures.

import { cors } from "../_shared/cors.ts";
import { transaction } from "../_shared/db.ts";
import { base64url, sha256, text } from "../_shared/encoding.ts";
import { Problem } from "../_shared/problem.ts";
import { type Call, serve } from "../_shared/serve.ts";
import { type Position, readWishes } from "../_shared/wishes.ts";

export const handler = cors(serve("vpn-nodes-list", { "": { method: "GET", run: list } }));

type Row = {
  name: string;
  region?: string;
  country?: string;
  city?: string;
  pool: string;
  features: string[];
  position?: Position;
  fill: number;
};

async function list({ request, url }: Call): Promise<Response> {
  const { pool, position } = read(url.searchParams);
  const rows = await transaction((tx) =>
    tx`select jsonb_strip_nulls(jsonb_build_object('name', name, 'region', nullif(region, ''), 'country', nullif(country, ''),
        'city', nullif(city, ''), 'pool', pool, 'features', features,
        'position', case when latitude is not null then jsonb_build_object('latitude', latitude, 'longitude', longitude) end,
        'fill', greatest(load, case when capacity_peers > 0 then greatest(peers, assigned)::float8 / capacity_peers end))) as row
      from waylume_servers
      where heartbeat_at > now() - interval '60 seconds' and health <> 'failing' and not node_draining and not fleet_draining
        and api_url <> '' and (${pool ?? null}::text is null or pool = ${pool ?? null})
      order by name collate "C"`
  );
  const servers = rows.map(({ row }) => shown(row as Row, position));
  if (position) servers.sort((a, b) => (a.distance ?? Infinity) - (b.distance ?? Infinity) || 0);
  const body = JSON.stringify({ servers });
  const headers = {
    "Content-Type": "application/json",
    // A position is its sender's: what is answered to it is for no shared cache.
    "Cache-Control": `${position ? "private" : "public"}, max-age=15`,
    "ETag": `"${base64url((await sha256(text.encode(body))).subarray(0, 16))}"`,
  };
  const has = (request.headers.get("If-None-Match") ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  const same = has.includes(headers.ETag) || has.includes("*");
  return same ? new Response(null, { status: 304, headers }) : new Response(body, { headers });
}

/** The query: pool, and the client's latitude and longitude. */
function read(query: URLSearchParams): { pool?: string; position?: Position } {
  const { latitude, longitude, ...others } = Object.fromEntries(query);
  const given = latitude !== undefined || longitude !== undefined;
  if ([latitude, longitude].some((n) => n !== undefined && !/^-?\d+(\.\d+)?$/.test(n)) || given && !(latitude && longitude)) {
    throw new Problem("invalid", "latitude and longitude must be two numbers, in degrees");
  }
  const position = given ? { latitude: Number(latitude), longitude: Number(longitude) } : undefined;
  const { pool, ...rest } = readWishes({ ...others, ...(position && { position }) }, []);
  if (Object.keys(rest).some((name) => name !== "position")) {
    throw new Problem("invalid", "the query may have pool, latitude and longitude");
  }
  return { pool, position };
}

function shown({ fill, ...server }: Row, position?: Position) {
  const load = fill < 0.5 ? "low" : fill < 0.8 ? "medium" : fill < 0.95 ? "high" : "full";
  const distance = position && server.position ? kilometres(position, server.position) : undefined;
  return { ...server, load, ...(distance !== undefined && { distance }) };
}

/** The great-circle distance, rounded, as registry.Select has it. */
function kilometres(a: Position, b: Position): number {
  const rad = Math.PI / 180;
  const dLat = (b.latitude - a.latitude) * rad, dLon = (b.longitude - a.longitude) * rad;
  const h = Math.sin(dLat / 2) ** 2 + Math.cos(a.latitude * rad) * Math.cos(b.latitude * rad) * Math.sin(dLon / 2) ** 2;
  return Math.floor(2 * 6371.0088 * Math.asin(Math.min(1, Math.sqrt(h))) + 0.5);
}
