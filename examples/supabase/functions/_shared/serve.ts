// What stands around every handler: routes, methods, a limit of time, and problems as answers.

import { asProblem } from "./db.ts";
import { Problem, readBody } from "./problem.ts";

/** What a handler is given: path is that below the base URL, such as /node-heartbeat/drain, as it was sent. */
export type Call = { request: Request; url: URL; path: string; body: Uint8Array<ArrayBuffer> };

export type Route = {
  /** The only method; POST unless said otherwise. */
  method?: "GET" | "POST";
  /** How many bytes a body may have; 1 MiB unless said otherwise. */
  limit?: number;
  run: (call: Call) => Promise<Response>;
};

export type Handler = (request: Request) => Promise<Response>;

/** How long an answer may take: after that it is 503. */
const deadline = 25_000;

/**
 * The handler of a function: routes are by what follows its name in the path, "" for nothing. Supabase hands a request on with the
 * path /NAME/..., some gateways with /functions/v1/NAME/...: both are the same path here.
 */
export function serve(name: string, routes: Record<string, Route>): Handler {
  return async (request) => {
    const url = new URL(request.url);
    const path = url.pathname.replace(/^\/functions\/v1(?=\/)/, "");
    try {
      return await within(deadline, run(request, url, path, name, routes));
    } catch (error) {
      const problem = asProblem(error);
      const log = { function: name, path: path.slice(0, 200), problem: problem.word, status: problem.status, detail: problem.message };
      if (problem.status >= 500) console.error(JSON.stringify({ ...log, cause: String(problem.cause ?? "") }));
      else console.log(JSON.stringify(log));
      return problem.response();
    }
  };
}

async function run(request: Request, url: URL, path: string, name: string, routes: Record<string, Route>): Promise<Response> {
  const below = path.slice(1 + name.length);
  const route = path.startsWith(`/${name}`) && Object.hasOwn(routes, below) ? routes[below] : undefined;
  if (!route) throw new Problem("invalid", "there is nothing at this path", { status: 404 });
  const method = route.method ?? "POST";
  if (request.method !== method) {
    throw new Problem("invalid", `the method must be ${method}`, { status: 405, headers: { Allow: method } });
  }
  const body = await readBody(request, route.limit ?? 1 << 20);
  if (method === "POST" && body.length && !/^application\/json\s*(;|$)/i.test(request.headers.get("Content-Type") ?? "")) {
    throw new Problem("invalid", "the Content-Type must be application/json", { status: 415 });
  }
  return await route.run({ request, url, path, body });
}

/** The outcome of a promise, unless it takes longer than that: then it is a problem, and what goes on is not waited for. */
export async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Problem("unavailable", "it took too long: try again")), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
