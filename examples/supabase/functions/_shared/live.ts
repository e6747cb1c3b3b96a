// A live session, with the limits that its node should know: the view vpn_wanted says how they follow from the plan.

import type { Server } from "./clientconfig.ts";
import { transaction } from "./db.ts";
import { base64url, fromBase64 } from "./encoding.ts";

export type Live = {
  id: string;
  public_key: string;
  generation: number;
  state: "placing" | "active";
  /** As the node has given them, if it has. */
  addresses: string[];
  expires_at: string | null;
  family: number;
  server: Server;
  /** Whether the server's last heartbeat is recent. */
  fresh: boolean;
  /** In bit/s; null: no limit. */
  download: number | null;
  upload: number | null;
  /** In bytes by the peer's own counter, and what the user has left; null: no cap. */
  cap: number | null;
  left_over: number | null;
  /** What this placement has used, as far as it was reported. */
  reported: number;
  /** When all this was true, or somewhat earlier, by this host's clock, in ms. */
  read: number;
};

/** The session, unless it has ended or its user has no plan any more. */
export async function live(session: string): Promise<Live | undefined> {
  const read = Date.now();
  const [row] = await transaction((tx) =>
    tx`select jsonb_build_object('id', w.session_id, 'public_key', w.public_key, 'generation', w.generation, 'state', w.state,
        'addresses', s.addresses, 'expires_at', s.expires_at, 'family', coalesce((s.query ->> 'family')::int, 0),
        'server', waylume_server(w.server_id), 'fresh', v.heartbeat_at is not null and v.heartbeat_at > now() - interval '60 seconds',
        'download', w.download, 'upload', w.upload, 'cap', w.cap, 'left_over', w.left_over, 'reported', w.reported) as live
      from vpn_wanted w join vpn_sessions s on s.id = w.session_id join waylume_servers v on v.id = w.server_id
      where w.session_id = ${session}::uuid and w.served`
  );
  return row && { ...row.live, read };
}

/**
 * Limits as the node's API takes them: a speed of 0 is no limit. No cap is one that nobody reaches, since a cap that is given to a peer
 * without one counts from then on, and not from the beginning.
 */
export const limits = ({ download, upload, cap }: Pick<Live, "download" | "upload" | "cap">) => ({
  speed_limit: { download: download ?? 0, upload: upload ?? 0 },
  data_cap: { bytes: cap ?? "1EiB" },
});

/** Where a peer is in a node's API: its public key in base64 for URLs. */
export const peerPath = (publicKey: string) => `/api/v1/peers/${base64url(fromBase64(publicKey)!)}`;
