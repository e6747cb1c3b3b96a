// Serves all functions in one process, each under /functions/v1/NAME, as Supabase does: what the tests run. It says where on standard
// output, in a line of JSON.
//
//   deno run --node-modules-dir=manual --allow-net --allow-env main.ts
//
// With HARNESS_CERT and HARNESS_KEY, both PEM, it serves over TLS.

import type { Handler } from "../functions/_shared/serve.ts";
import { handler as connectionRequest } from "../functions/connection-request/handler.ts";
import { handler as nodeEnroll } from "../functions/node-enroll/handler.ts";
import { handler as nodeHeartbeat } from "../functions/node-heartbeat/handler.ts";
import { handler as sessionCleanup } from "../functions/session-cleanup/handler.ts";
import { handler as sessionEnd } from "../functions/session-end/handler.ts";
import { handler as stripeWebhook } from "../functions/stripe-webhook/handler.ts";
import { handler as usageReport } from "../functions/usage-report/handler.ts";
import { handler as vpnNodesList } from "../functions/vpn-nodes-list/handler.ts";

const functions: Record<string, Handler> = {
  "connection-request": connectionRequest,
  "node-enroll": nodeEnroll,
  "node-heartbeat": nodeHeartbeat,
  "session-cleanup": sessionCleanup,
  "session-end": sessionEnd,
  "stripe-webhook": stripeWebhook,
  "usage-report": usageReport,
  "vpn-nodes-list": vpnNodesList,
};

const prefix = "/functions/v1";
const cert = Deno.env.get("HARNESS_CERT"), key = Deno.env.get("HARNESS_KEY");

Deno.serve({
  hostname: "127.0.0.1",
  port: Number(Deno.env.get("HARNESS_PORT") ?? 0),
  ...(cert && key ? { cert, key } : {}),
  onListen: ({ hostname, port }) => console.log(JSON.stringify({ listening: `${hostname}:${port}` })),
}, (request) => {
  const url = new URL(request.url);
  const name = url.pathname.startsWith(prefix + "/") ? url.pathname.slice(prefix.length + 1).split("/")[0] : "";
  if (!Object.hasOwn(functions, name)) return new Response("Function not found", { status: 404 });
  // Supabase hands a request on with the path that is left without the prefix.
  const handed = new URL(url.pathname.slice(prefix.length) + url.search, url);
  const { method, headers, body } = request;
  return functions[name](new Request(handed, { method, headers, body }));
});
