// The libraries of the functions, each at one exact version: Supabase fetches them when a function is deployed. The tests run with
// what npm has installed by harness/package.json, which names the same versions (a test looks).

export { default as postgres } from "npm:postgres@3.4.9";
export * as jose from "npm:jose@6.2.17";
