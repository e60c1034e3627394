/**
 * Where `@std/...` comes from: JSR, as deno.json says, or the adapters in std_offline/ where JSR
 * cannot be reached. Imports nothing from `@std`, since it runs before that is decided.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

/** Where `@std/...` comes from. */
export type StdSource = "jsr" | "offline";

/** Environment variable that hands the decision down to child processes. */
export const STD_SOURCE_VARIABLE = "GHOST_STD_SOURCE";
/** Longest time the registry may take to answer, in milliseconds. */
export const PROBE_TIMEOUT_MS = 1000;
/** How long "reachable" is remembered, in milliseconds: what was fetched stays in Deno's cache. */
export const REMEMBER_JSR_MS = 60 * 60 * 1000;
/** How long "unreachable" is remembered, in milliseconds: short, a network may come back. */
export const REMEMBER_OFFLINE_MS = 10 * 60 * 1000;

const ROOT_URL = new URL("../", import.meta.url);
const IMPORT_MAP_URL = new URL("std_offline/import_map.json", import.meta.url);
const MEMORY_URL = new URL(".cache/std_source.json", ROOT_URL);

/** What is remembered of one registry; the memory file holds one entry for each base URL. */
interface Remembered {
  readonly source: StdSource;
  readonly checked_ms: number;
}

/** Path of the repository's root folder, without a trailing slash. */
export function rootPath(): string {
  return fileURLToPath(ROOT_URL).replace(/[\\/]$/, "");
}

/** Base URL of the registry, with a trailing slash: JSR_URL, or jsr.io. */
export function registryUrl(): string {
  return (Deno.env.get("JSR_URL") || "https://jsr.io/").replace(/\/*$/, "/");
}

/**
 * Asks a registry whether it has `@std/assert`.
 *
 * @param url Base URL of the registry, with a trailing slash.
 * @returns "jsr" when it answers within {@linkcode PROBE_TIMEOUT_MS}, else "offline".
 */
export async function probe(url: string): Promise<StdSource> {
  try {
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
    const response = await fetch(`${url}@std/assert/meta.json`, { signal });
    const meta: unknown = await response.json(); // a captive portal answers too, with a page
    return response.ok && Object.hasOwn(Object(meta), "versions") ? "jsr" : "offline";
  } catch {
    return "offline"; // no network, no such host, refused, too slow: all the same here
  }
}

/** Entries of the memory file that still count. */
function recall(memory: URL, now_ms: number): Record<string, Remembered> {
  try {
    const entries: [string, Remembered][] = Object.entries(
      JSON.parse(Deno.readTextFileSync(memory)),
    );
    return Object.fromEntries(entries.filter(([, { source, checked_ms }]) => {
      const limit_ms = source === "jsr" ? REMEMBER_JSR_MS : REMEMBER_OFFLINE_MS;
      return now_ms >= checked_ms && now_ms - checked_ms < limit_ms;
    }));
  } catch {
    return {}; // missing or damaged: probe again
  }
}

function remember(memory: URL, entries: Record<string, Remembered>): void {
  try {
    Deno.mkdirSync(new URL("./", memory), { recursive: true });
    const temporary = new URL(`${memory.href}.${Deno.pid}`);
    Deno.writeTextFileSync(temporary, JSON.stringify(entries));
    Deno.renameSync(temporary, memory);
  } catch {
    // a read-only checkout: probe again next time
  }
}

/**
 * Probes a registry, or repeats what an earlier probe found.
 *
 * @param url Base URL of the registry, with a trailing slash.
 * @param memory File that remembers the answer.
 * @param now_ms Present time, in milliseconds since the epoch.
 * @returns The source.
 */
export async function rememberedProbe(
  url: string,
  memory: URL,
  now_ms: number,
): Promise<StdSource> {
  const known = recall(memory, now_ms);
  if (Object.hasOwn(known, url)) return known[url].source;
  const source = await probe(url);
  remember(memory, { ...known, [url]: { source, checked_ms: now_ms } });
  return source;
}

/**
 * Decides where `@std/...` comes from: what a parent process decided, else what is remembered,
 * else a probe of the registry.
 *
 * @returns The source.
 */
export async function stdSource(): Promise<StdSource> {
  const inherited = Deno.env.get(STD_SOURCE_VARIABLE);
  if (inherited === "jsr" || inherited === "offline") return inherited;
  return await rememberedProbe(registryUrl(), MEMORY_URL, Date.now());
}

/**
 * Flags that a `deno run`, `test`, `check`, `bundle`, `compile` or `doc` of this project's code
 * needs so that `@std/...` resolves.
 *
 * @param source Where `@std/...` comes from.
 * @returns The flags; none when deno.json does it.
 */
export function stdFlags(source: StdSource): string[] {
  return source === "jsr" ? [] : [`--import-map=${fileURLToPath(IMPORT_MAP_URL)}`];
}
