// What a node says of itself: that it is there, how it is, that it wants no more sessions, that it leaves.

import { transaction } from "../_shared/db.ts";
import { controlKeys } from "../_shared/keys.ts";
import { authenticate, ownServer } from "../_shared/nodeauth.ts";
import { answer, parseObject, Problem } from "../_shared/problem.ts";
import { type Call, serve } from "../_shared/serve.ts";

export const handler = serve("node-heartbeat", {
  "": { run: heartbeat },
  "/register": { run: register },
  "/drain": { run: drain },
  "/deregister": { run: deregister },
});

// Bodies go to the database as they came, and answers come from it as they are: no number is rounded on the way.
const asSent = (body: Uint8Array) => new TextDecoder().decode(body);

async function register(call: Call): Promise<Response> {
  const node = await authenticate(call);
  parseObject(call.body);
  const keys = await controlKeys();
  const [{ registered }] = await transaction((tx) =>
    tx<{ registered: string }[]>`
      select (fleet_register(${node.credential}, ${asSent(call.body)}::text::jsonb)
        || jsonb_build_object('control_keys', ${JSON.stringify(keys)}::text::jsonb))::text as registered`
  );
  return answer(registered);
}

async function heartbeat(call: Call): Promise<Response> {
  const node = await authenticate(call);
  ownServer(node, parseObject(call.body));
  const keys = await presentKeys();
  const [{ said }] = await transaction((tx) =>
    tx<{ said: string }[]>`
      select (waylume_heartbeat(${asSent(call.body)}::text::jsonb)
        || jsonb_strip_nulls(jsonb_build_object('control_keys', ${JSON.stringify(keys)}::text::jsonb)))::text as said`
  );
  return answer(said);
}

/** The keys that sign requests to nodes. Without them, a node keeps to those that it knows: it is there all the same. */
async function presentKeys(): Promise<unknown> {
  try {
    return await controlKeys();
  } catch (error) {
    console.error(JSON.stringify({ message: "heartbeats are answered without control keys", error: String(error) }));
    return null;
  }
}

async function drain(call: Call): Promise<Response> {
  const node = await authenticate(call);
  const body = parseObject(call.body);
  ownServer(node, body);
  const { draining } = body;
  if (typeof draining !== "boolean") throw new Problem("invalid", "draining: true or false is wanted");
  await transaction((tx) => tx`select waylume_drain(${node.server}, ${draining})`);
  return answer({});
}

async function deregister(call: Call): Promise<Response> {
  const node = await authenticate(call);
  ownServer(node, parseObject(call.body));
  await transaction((tx) => tx`select waylume_deregister(${node.server})`);
  return answer({});
}
