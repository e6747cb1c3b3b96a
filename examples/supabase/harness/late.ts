// Asks a node for a peer of a session that was read some time ago, and says what became of it: what the test drives. The key is in the
// environment, as it is for the functions.
//
//   deno run --allow-net=NODE --allow-env late.ts URL MILLISECONDS...

import { askNode, TooLate } from "../functions/_shared/nodeapi.ts";

const [url, ...ages] = Deno.args;
for (const age of ages) {
  const ask = { method: "POST", path: "/api/v1/peers", body: {}, read: Date.now() - Number(age) } as const;
  try {
    const { status } = await askNode({ name: "fra-1", api_url: url }, ask);
    console.log(`${status}`);
  } catch (error) {
    if (!(error instanceof TooLate)) throw error;
    console.log("too late");
  }
}
