// What the peers of a node used, each report once: it is added to their sessions, and held to their users' plans.

import { transaction } from "../_shared/db.ts";
import { authenticate, ownServer } from "../_shared/nodeauth.ts";
import { afterUsage } from "../_shared/plans.ts";
import { answer, parseObject } from "../_shared/problem.ts";
import { type Call, serve } from "../_shared/serve.ts";

export const handler = serve("usage-report", { "": { run: report } });

async function report(call: Call): Promise<Response> {
  const node = await authenticate(call);
  const report = parseObject(call.body);
  ownServer(node, report);
  const [{ receipt }] = await transaction((tx) =>
    tx<{ receipt: string }[]>`select waylume_report_usage(${new TextDecoder().decode(call.body)}::text::jsonb)::text as receipt`
  );
  await afterUsage(node.server, Number(report.sequence));
  return answer(receipt);
}
