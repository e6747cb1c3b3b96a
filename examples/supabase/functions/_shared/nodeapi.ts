// Asks a node's API, as docs/api.md has it: signed, with a limit of time, and with the node's own words when it refuses.

import { signingKey } from "./keys.ts";
import { sign } from "./sign.ts";

/** Where a node is asked, and the name that requests to it are signed for: api_url, and audience or else name, of a Server. */
export type Target = { api_url?: string; audience?: string; name: string };

export type Ask = {
  method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE";
  /** The path on the node with the query, if any: /api/v1/peers/... */
  path: string;
  body?: unknown;
  /** Makes asking twice harmless: of what is done for a session it has the session and the generation. */
  idempotencyKey?: string;
  /** Makes a change only if what is there still has this entity tag; otherwise the node refuses with 412. */
  ifMatch?: string;
  scopes?: string[];
  /** In ms; 5 s unless said otherwise. */
  timeout?: number;
  /**
   * When it was read which server the session is on, as of Date.now(). The request is signed within maxAge of that, or it is TooLate:
   * what is signed lives for a minute at most, and a node remembers for ten what it has let go of.
   */
  read?: number;
};

/** How old the knowledge may be of who owns a session, in ms, when a node is asked to serve it: docs/fleet-failover.md says why. */
export const maxAge = 60_000;

/** Nothing was asked: what is known of the session is too old, as the function was stopped meanwhile. It is to be read again. */
export class TooLate extends Error {
  override readonly name = "TooLate";
}

/** What a node said: a status below 400, the JSON of the body and the entity tag, if any, and whether that is an answer from before. */
export type Said = { status: number; body: unknown; etag?: string; replayed: boolean };

/** A node that could not be asked, or has refused. */
export class NodeError extends Error {
  /** HTTP's; 0: there was no answer, and nobody knows whether the node has done what it was asked. */
  readonly status: number;
  /** The problem's type and members, if the node has named one. */
  readonly problem?: Record<string, unknown>;

  constructor(message: string, status: number, problem?: Record<string, unknown>, cause?: unknown) {
    super(message, { cause });
    this.name = "NodeError";
    this.status = status;
    this.problem = problem;
  }

  /** Whether another node, or this one later, may do better: not so if the request itself is at fault. */
  get passing(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** How much of an answer is read. */
const limit = 1 << 20;

/** Asks a node once. An answer of 400 and above, and no answer, is a NodeError. */
export async function askNode(
  target: Target,
  { method, path, body, idempotencyKey, ifMatch, scopes, timeout = 5_000, read }: Ask,
): Promise<Said> {
  if (!target.api_url) throw new NodeError("the node has no API that could be asked", 0);
  const headers = new Headers({ Accept: "application/json, application/problem+json" });
  if (body !== undefined) headers.set("Content-Type", "application/json");
  if (idempotencyKey) headers.set("Idempotency-Key", idempotencyKey);
  if (ifMatch) headers.set("If-Match", ifMatch);
  const request = new Request(target.api_url.replace(/\/+$/, "") + path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(timeout),
  });
  const claims = {
    subject: "waylume-functions",
    audience: target.audience || target.name,
    scopes: scopes ?? ["peers:read", "peers:write"],
  };
  const signed = await sign(request, await signingKey(), claims);
  if (read !== undefined) { // after it was signed: from then on its own time runs, however long this stops here
    const age = Date.now() - read;
    if (age > maxAge || age < 0) throw new TooLate("the session was read too long ago, or the clock was set back");
  }
  let response: Response, said: unknown;
  try {
    response = await fetch(signed);
    said = await parse(response);
  } catch (error) {
    throw new NodeError(`no answer from ${target.name}`, 0, undefined, error);
  }
  if (response.status >= 400) {
    const problem = typeof said === "object" && said !== null ? said as Record<string, unknown> : undefined;
    const detail = problem?.detail ?? problem?.title ?? response.statusText;
    throw new NodeError(`${target.name} refused: ${response.status} ${detail}`, response.status, problem);
  }
  const replayed = response.headers.get("Idempotency-Replayed") === "true";
  return { status: response.status, body: said, etag: response.headers.get("ETag") ?? undefined, replayed };
}

async function parse(response: Response): Promise<unknown> {
  let text = "", length = 0;
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    if ((length += chunk.length) > limit) throw new Error("the answer is too large");
    text += decoder.decode(chunk, { stream: true });
  }
  text += decoder.decode();
  if (!/\bjson\b/.test(response.headers.get("Content-Type") ?? "")) return undefined;
  return text ? JSON.parse(text) : undefined;
}
