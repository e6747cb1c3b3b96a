// What a client needs to connect: fields, and the text that wg-quick(8) and the apps take.

import { Problem } from "./problem.ts";

/** What the registry says of a server, as far as it is wanted here (registry.Server). */
export type Server = {
  id: string;
  name: string;
  public_key: string;
  endpoint_v4?: string;
  endpoint_v6?: string;
  api_url?: string;
  audience?: string;
  region?: string;
  country?: string;
  city?: string;
  draining?: boolean;
};

/** What a node says of a peer's configuration, and vpn_limits keeps. */
export type NodeConfig = { dns: string[]; mtu: number; allowed_ips: string[]; keepalive: number };

export type ClientConfig = NodeConfig & {
  addresses: string[];
  server_public_key: string;
  endpoint: string;
  text: string;
};

const address = /^[0-9A-Fa-f:.]{2,45}$/;
const prefix = /^[0-9A-Fa-f:.]{2,45}\/\d{1,3}$/;

/**
 * Reads a node's PeerConfig. Its text is not used, and its fields are held to their forms: a node that somebody has taken over must not
 * put commands into what clients hand to wg-quick.
 */
export function readNodeConfig(said: unknown): NodeConfig {
  const { dns, mtu, allowed_ips, keepalive } = (said ?? {}) as Record<string, unknown>;
  if (!matches(dns, address) || !matches(allowed_ips, prefix) || !Number.isInteger(mtu)) {
    throw new Error("the node's configuration is none");
  }
  return { dns, allowed_ips, mtu: mtu as number, keepalive: seconds(keepalive) };
}

/** Reads the addresses of a peer. */
export function readAddresses(said: unknown): string[] {
  if (!matches(said, address) || !said.length) throw new Error("the peer's addresses are none");
  return said;
}

const matches = (list: unknown, form: RegExp): list is string[] =>
  Array.isArray(list) && list.length <= 64 && list.every((one) => typeof one === "string" && form.test(one));

/** A duration as Go writes it, "1m25s", in whole seconds; 0 for none. */
export function seconds(duration: unknown): number {
  const parts = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(typeof duration === "string" ? duration : "");
  if (!parts) return 0;
  const [hours, minutes, rest] = parts.slice(1).map((n) => Number(n ?? 0));
  return hours * 3600 + minutes * 60 + rest;
}

/** The configuration of a session on a server. A client that reaches IPv6 alone (family 6) gets that endpoint. */
export function clientConfig(server: Server, addresses: string[], node: NodeConfig, family: number): ClientConfig {
  const endpoint = family === 6 ? server.endpoint_v6 : family === 4 ? server.endpoint_v4 : server.endpoint_v4 ?? server.endpoint_v6;
  if (!endpoint) throw new Problem("unavailable", "the server has no endpoint of the client's family any more: try again");
  const lines = [
    "[Interface]",
    "# PrivateKey = the client's own",
    `Address = ${addresses.map((a) => a + (a.includes(":") ? "/128" : "/32")).join(", ")}`,
    node.dns.length ? `DNS = ${node.dns.join(", ")}` : "",
    `MTU = ${node.mtu}`,
    "",
    "[Peer]",
    `PublicKey = ${server.public_key}`,
    `AllowedIPs = ${node.allowed_ips.join(", ")}`,
    `Endpoint = ${endpoint}`,
    node.keepalive ? `PersistentKeepalive = ${node.keepalive}` : "",
  ];
  const text = lines.filter((line, i) => line || i === 5).join("\n") + "\n";
  return { ...node, addresses, server_public_key: server.public_key, endpoint, text };
}
