// Sends signed requests, one for each line of JSON on standard input, and writes a line of JSON with each answer: what the
// test drives.
//
//   deno run --allow-net=NODE call.ts KID ALGORITHM KEY-IN-BASE64 AUDIENCE < requests

import { type Algorithm, importKey, sign } from "../functions/_shared/sign.ts";

const [id, algorithm, secret, audience] = Deno.args;
const key = await importKey(id, algorithm as Algorithm, Uint8Array.from(atob(secret), (c) => c.charCodeAt(0)));
const claims = { subject: "edge-function", audience, scopes: ["peers:read", "peers:write"] };
const lines = (await new Response(Deno.stdin.readable).text()).split("\n").filter((line) => line);
for (const line of lines) {
  const { method, url, body } = JSON.parse(line);
  const request = new Request(url, { method, body: body || undefined });
  const response = await fetch(await sign(request, key, claims));
  console.log(JSON.stringify({ status: response.status, body: await response.text() }));
}
