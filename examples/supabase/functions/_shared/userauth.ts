// Who a user is: the JWT that Supabase Auth has given to them.

import { jose } from "./deps.ts";
import { text } from "./encoding.ts";
import { Problem, unauthenticated } from "./problem.ts";

/** A user who is logged in; an anonymous one has an account without an e-mail address or the like. */
export type User = { id: string; email?: string; anonymous: boolean; claims: jose.JWTPayload };

type Keys = { algorithms: string[]; get: Parameters<typeof jose.jwtVerify>[1] | Uint8Array };

let keys: Keys | undefined;

/**
 * The keys that users' tokens are checked with, by what is set: SUPABASE_JWKS, which Supabase gives to functions, or
 * SUPABASE_JWKS_URL, the address of such a set; or the secret of HS256, for projects that sign with one: WAYLUME_JWT_SECRET, since
 * Supabase lets nobody set names that begin with SUPABASE_, or SUPABASE_JWT_SECRET where one hosts it oneself.
 */
function loadKeys(): Keys {
  const env = (name: string) => Deno.env.get(name) || undefined;
  const asymmetric = ["ES256", "RS256", "EdDSA"];
  const secret = env("WAYLUME_JWT_SECRET") ?? env("SUPABASE_JWT_SECRET");
  if (secret) {
    if (secret.length < 32) throw new Problem("internal", "the secret of users' tokens must have 32 bytes or more");
    return { algorithms: ["HS256"], get: text.encode(secret) };
  }
  const set = env("SUPABASE_JWKS");
  if (set) {
    const parsed = JSON.parse(set);
    return { algorithms: asymmetric, get: jose.createLocalJWKSet(Array.isArray(parsed) ? { keys: parsed } : parsed) };
  }
  const url = env("SUPABASE_JWKS_URL") ?? (env("SUPABASE_URL") && env("SUPABASE_URL") + "/auth/v1/.well-known/jwks.json");
  if (!url) throw new Problem("internal", "the function lacks the keys of users' tokens: SUPABASE_JWKS is not set");
  return { algorithms: asymmetric, get: jose.createRemoteJWKSet(new URL(url), { timeoutDuration: 3_000 }) };
}

/** The user whose token a request has; one that is not right is a problem. */
export async function authenticateUser(request: Request): Promise<User> {
  const token = /^Bearer ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i.exec(request.headers.get("Authorization") ?? "")?.[1];
  if (!token) throw unauthenticated("the header Authorization must be Bearer and the user's access token");
  const { algorithms, get } = keys ??= loadKeys();
  let claims: jose.JWTPayload;
  try {
    const options = {
      algorithms,
      audience: "authenticated",
      issuer: Deno.env.get("WAYLUME_JWT_ISSUER") || undefined,
      requiredClaims: ["sub", "exp", "role"],
      clockTolerance: 5,
    };
    // The two kinds of keys are two signatures of one function.
    claims = (typeof get === "function" ? await jose.jwtVerify(token, get, options) : await jose.jwtVerify(token, get, options)).payload;
  } catch (error) {
    if (error instanceof jose.errors.JWTExpired) throw unauthenticated("the access token has expired: get another");
    const passing = error instanceof jose.errors.JWKSTimeout || error instanceof TypeError;
    if (passing) throw new Problem("unavailable", "the keys of users' tokens cannot be had: try again", { cause: error });
    throw unauthenticated("the access token is not good");
  }
  if (claims.role !== "authenticated" || !claims.sub || claims.sub.length > 128) {
    throw unauthenticated("the access token is not that of a user");
  }
  return {
    id: claims.sub,
    email: typeof claims.email === "string" ? claims.email : undefined,
    anonymous: claims.is_anonymous === true,
    claims,
  };
}
