// Refusals as problem details (RFC 9457), and what every function does with a request before it looks at it: method, size, time.

/** What went wrong, in one word; the type of the problem is this after "urn:waylume:fleet:". */
export type Word =
  | "invalid"
  | "name-taken"
  | "unknown-server"
  | "superseded"
  | "denied"
  | "gap"
  | "no-server"
  | "unknown-session"
  | "conflict"
  | "clock"
  | "unavailable"
  | "internal"
  | "no-plan"
  | "used-up"
  | "not-in-plan"
  | "too-many-sessions"
  | "ended";

const statuses: Record<Word, number> = {
  "invalid": 400,
  "name-taken": 409,
  "unknown-server": 404,
  "superseded": 409,
  "denied": 403,
  "gap": 409,
  "no-server": 503,
  "unknown-session": 404,
  "conflict": 409,
  "clock": 401,
  "unavailable": 503,
  "internal": 500,
  "no-plan": 403,
  "used-up": 403,
  "not-in-plan": 403,
  "too-many-sessions": 409,
  "ended": 409,
};

/** The title that a type has: "Name taken". */
const title = (word: Word) => word[0].toUpperCase() + word.slice(1).replaceAll("-", " ");

export type Extra = { status?: number; headers?: Record<string, string>; cause?: unknown };

/** A refusal: thrown anywhere in a handler, it is the answer. The detail is for whoever asks: nothing secret belongs there. */
export class Problem extends Error {
  readonly word: Word;
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(word: Word, detail: string, { status, headers, cause }: Extra = {}) {
    super(detail.length > 500 ? detail.slice(0, 500) + "..." : detail, { cause });
    this.name = "Problem";
    this.word = word;
    this.status = status ?? statuses[word];
    this.headers = headers ?? {};
    if (this.status === 401) this.headers["WWW-Authenticate"] ??= "Bearer";
    if (this.status === 503) this.headers["Retry-After"] ??= "2";
  }

  /** The problem as an answer. */
  response(): Response {
    const body = { type: `urn:waylume:fleet:${this.word}`, title: title(this.word), status: this.status, detail: this.message };
    return new Response(JSON.stringify(body), {
      status: this.status,
      headers: { ...this.headers, "Content-Type": "application/problem+json", "Cache-Control": "no-store" },
    });
  }
}

/** One who has not shown who they are, or in a way that does not hold. */
export const unauthenticated = (detail: string) => new Problem("denied", detail, { status: 401 });

/** An answer in JSON: text is sent as it is, so that numbers from the database stay exact. */
export function answer(body: unknown, status = 200): Response {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return new Response(text, { status, headers: { "Content-Type": "application/json", "Cache-Control": "no-store" } });
}

/** Reads a body of at most limit bytes, and not for longer than 10 s. */
export async function readBody(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const tooLarge = () => new Problem("invalid", `the body may have ${limit} bytes at most`, { status: 413 });
  if (Number(request.headers.get("Content-Length") ?? 0) > limit) throw tooLarge();
  if (!request.body) return new Uint8Array();
  const reader = request.body.getReader();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    reader.cancel("too slow").catch(() => {});
  }, 10_000);
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (late) throw new Problem("unavailable", "the body took longer than 10 s: send it again");
      if (done) break;
      length += value.length;
      if (length > limit) {
        await reader.cancel("too large").catch(() => {});
        throw tooLarge();
      }
      chunks.push(value);
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem("unavailable", "the body broke off: send it again", { cause: error });
  } finally {
    clearTimeout(timer);
  }
  const body = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

/** A body as the JSON object that it must be. */
export function parseObject(body: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (error) {
    throw new Problem("invalid", "the body must be JSON, in UTF-8", { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem("invalid", "the body must be a JSON object");
  }
  return value as Record<string, unknown>;
}
