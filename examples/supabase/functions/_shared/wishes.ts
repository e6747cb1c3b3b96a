// What a client may say of the server that it wants, in the words of registry.Query.

import { Problem } from "./problem.ts";

export type Position = { latitude: number; longitude: number };

export type Wishes = {
  region?: string;
  country?: string;
  city?: string;
  pool?: string;
  features?: string[];
  family?: number;
  position?: Position;
  slack?: number;
};

const isText = (v: unknown) => typeof v === "string" && v.length <= 64;
const isNumber = (v: unknown, low: number, high: number) => typeof v === "number" && v >= low && v <= high;

const forms: Record<keyof Wishes, [(v: unknown) => boolean, string]> = {
  region: [isText, "a text of 64 characters at most"],
  country: [(v) => typeof v === "string" && /^[A-Z]{2}$/.test(v), "two capitals, as ISO 3166-1 has them"],
  city: [isText, "a text of 64 characters at most"],
  pool: [isText, "a text of 64 characters at most"],
  features: [(v) => Array.isArray(v) && v.length <= 32 && v.every(isText), "a list of 32 texts at most"],
  family: [(v) => v === 4 || v === 6, "4 or 6"],
  position: [isPosition, "latitude, -90 to 90, and longitude, -180 to 180"],
  slack: [(v) => Number.isInteger(v) && isNumber(v, 1, 20_000), "whole kilometres, 1 to 20000"],
};

function isPosition(v: unknown): boolean {
  const { latitude, longitude, ...others } = (v ?? {}) as Record<string, unknown>;
  return isNumber(latitude, -90, 90) && isNumber(longitude, -180, 180) && !Object.keys(others).length;
}

/** Reads wishes from an object that may have no other fields than those and the given ones. Null is as if it were not there. */
export function readWishes(body: Record<string, unknown>, others: string[]): Wishes {
  const wishes: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(body)) {
    if (value === null || others.includes(name)) continue;
    if (!Object.hasOwn(forms, name)) throw new Problem("invalid", `there is no field ${JSON.stringify(name.slice(0, 64))}`);
    const [fits, form] = forms[name as keyof Wishes];
    if (!fits(value)) throw new Problem("invalid", `${name} must be ${form}`);
    if (value !== "") wishes[name] = value;
  }
  return wishes as Wishes;
}
