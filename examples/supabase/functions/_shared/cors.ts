// Lets pages of any origin call a function: who asks shows a token, never a cookie, so a page can do no more than its user.

import type { Handler } from "./serve.ts";

const headers = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Expose-Headers": "ETag, Retry-After",
};

const preflight = {
  ...headers,
  "Access-Control-Allow-Methods": "GET, POST",
  "Access-Control-Allow-Headers": "authorization, apikey, content-type, idempotency-key, if-none-match, x-client-info",
  "Access-Control-Max-Age": "86400",
};

export const cors = (handler: Handler): Handler => async (request) => {
  if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: preflight });
  const response = await handler(request);
  for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
  return response;
};
