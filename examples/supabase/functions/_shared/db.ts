// The database, by the URL in WAYLUME_DB_URL, else in SUPABASE_DB_URL: transactions with limits of time, and what its errors mean to
// whoever asked.

import { postgres } from "./deps.ts";
import { Problem, type Word } from "./problem.ts";

export type Tx = postgres.TransactionSql;

/** How long a statement may run, and how long it may wait for a lock, in ms; and the transaction whole, with what the network takes. */
const limits = { statement: 5_000, lock: 3_000, whole: 8_000 };

let pool: postgres.Sql | undefined;

function open(): postgres.Sql {
  const url = Deno.env.get("WAYLUME_DB_URL") || Deno.env.get("SUPABASE_DB_URL");
  if (!url) throw new Problem("internal", "the function lacks its database: SUPABASE_DB_URL is not set");
  return postgres(url, {
    // A function has many instances: each has few connections, and lets go of them soon.
    max: 4,
    idle_timeout: 20,
    connect_timeout: 5,
    max_lifetime: 15 * 60,
    // A pooler in transaction mode has no prepared statements.
    prepare: false,
    fetch_types: false,
    // Whoever asks tries again: a query that waits longer for a connection than its caller does is of no use.
    backoff: () => 0.1,
    onnotice: () => {},
    connection: { application_name: "waylume-functions" },
  });
}

/**
 * Runs work in a transaction, which is rolled back if work throws. A database that cannot be reached, or answers too late, is the
 * problem "unavailable"; what was done then is not known.
 */
export async function transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
  const sql = pool ??= open();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      // What does not answer is left to itself: a connection that is half open would keep the next caller waiting, too.
      if (pool === sql) pool = undefined;
      sql.end({ timeout: 1 }).catch(() => {});
      reject(new Problem("unavailable", "the database did not answer in time: try again"));
    }, limits.whole);
  });
  try {
    const done = sql.begin(async (tx) => {
      // The first statement of work goes out with this one: they are carried out in their order.
      const limited = tx`select set_config('statement_timeout', ${String(limits.statement)}, true),
        set_config('lock_timeout', ${String(limits.lock)}, true),
        set_config('idle_in_transaction_session_timeout', ${String(limits.whole)}, true)`;
      const [, result] = await Promise.all([limited, work(tx)]);
      return result;
    }) as Promise<T>;
    return await Promise.race([done, late]);
  } catch (error) {
    throw asProblem(error);
  } finally {
    clearTimeout(timer);
  }
}

/** SQLSTATE of Waylume's own functions. */
const words: Record<string, Word> = {
  WL001: "invalid",
  WL002: "name-taken",
  WL003: "unknown-server",
  WL004: "superseded",
  WL005: "denied",
  WL006: "gap",
  WL007: "no-server",
  WL008: "unknown-session",
  WL009: "conflict",
};

/** SQLSTATE, or the beginning of it, of a database that may do better the next time. */
const passing = ["08", "25P03", "40", "53", "55P03", "57"];

/** What the driver and the system say of a connection that failed. */
const broken = new Set([
  "CONNECT_TIMEOUT",
  "CONNECTION_CLOSED",
  "CONNECTION_ENDED",
  "CONNECTION_DESTROYED",
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
]); // deno-fmt-ignore

/** An error as what is answered. Of the database's own errors only Waylume's are told; the others are for the log. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string };
  if (typeof code === "string") {
    if (Object.hasOwn(words, code)) return new Problem(words[code], message ?? words[code], { cause: error });
    if (broken.has(code) || (/^[0-9A-Z]{5}$/.test(code) && passing.some((start) => code.startsWith(start)))) {
      return new Problem("unavailable", "the database is not available: try again", { cause: error });
    }
    // Data that PostgreSQL cannot read, that is too deep for it, or that breaks a rule of a column.
    if (/^(22|54)[0-9A-Z]{3}$/.test(code) || code === "23514" || code === "23502") {
      return new Problem("invalid", "a value is not of its type, or out of its range", { cause: error });
    }
  }
  return new Problem("internal", "something went wrong here: the log says what", { cause: error });
}
