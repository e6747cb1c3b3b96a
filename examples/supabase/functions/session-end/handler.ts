// Ends a session of the user's: its node drops the peer, and another session can have its place in the plan.

import { cors } from "../_shared/cors.ts";
import { transaction } from "../_shared/db.ts";
import { isUUID } from "../_shared/encoding.ts";
import { answer, parseObject, Problem } from "../_shared/problem.ts";
import { type Call, serve } from "../_shared/serve.ts";
import { endSession } from "../_shared/sessions.ts";
import { authenticateUser } from "../_shared/userauth.ts";

export const handler = cors(serve("session-end", { "": { run: end, limit: 1 << 10 } }));

async function end(call: Call): Promise<Response> {
  const user = await authenticateUser(call.request);
  const { session, ...others } = parseObject(call.body);
  if (!isUUID(session) || Object.keys(others).length) throw new Problem("invalid", 'the body must be the session\'s id: {"session": UUID}');
  const [own] = await transaction((tx) => tx`select from vpn_sessions where id = ${session}::uuid and user_id = ${user.id}`);
  // Another user's session is as one that is not there.
  if (!own) throw new Problem("unknown-session", "you have no such session");
  await endSession(session, "user");
  return answer({ session, state: "ended" });
}
