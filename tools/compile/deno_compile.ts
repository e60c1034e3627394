/**
 * Makes an executable with `deno compile`, where its base runtime can be had.
 *
 * @module
 */

import { SHIM_FILE } from "../../ffi/build.ts";
import { CompileError } from "./cc.ts";
import type { Program } from "./pack.ts";
import { BASE_V8_FLAGS } from "./payload.ts";

/** Longest time the download server may take to answer, in milliseconds. */
export const PROBE_TIMEOUT_MS = 1000;
/** How long its answer is remembered, in milliseconds. */
export const REMEMBER_MS = 60 * 60 * 1000;

const DOWNLOAD_BASE = "https://dl.deno.land/release";
const DEFAULT_MEMORY_URL = new URL("../../.cache/denort_source.json", import.meta.url);

/** What the memory file holds. */
interface Remembered {
  readonly url: string;
  readonly is_reachable: boolean;
  readonly checked_ms: number;
}

function archiveUrl(): string {
  const { version: { deno }, build: { target } } = Deno;
  return `${DOWNLOAD_BASE}/v${deno}/denort-${target}.zip`;
}

function recall(memory: URL, url: string, now_ms: number): boolean | undefined {
  try {
    const known: Remembered = JSON.parse(Deno.readTextFileSync(memory));
    const age_ms = now_ms - known.checked_ms;
    if (known.url === url && age_ms >= 0 && age_ms < REMEMBER_MS) return known.is_reachable;
  } catch { /* missing or damaged: probe again */ }
  return undefined;
}

function remember(memory: URL, entry: Remembered): void {
  try {
    Deno.mkdirSync(new URL("./", memory), { recursive: true });
    Deno.writeTextFileSync(memory, JSON.stringify(entry));
  } catch { /* a read-only checkout: probe again next time */ }
}

async function probe(url: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
    const response = await fetch(url, { method: "HEAD", signal });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false; // no network, no such host, refused, too slow: all the same here
  }
}

/** Where `deno compile` gets its base runtime from. */
export type BaseRuntime = "DENORT_BIN" | "download" | "none";

/**
 * Says where `deno compile` would get its base runtime from: the file that DENORT_BIN names, or a
 * download, if the server answers within {@linkcode PROBE_TIMEOUT_MS}; the answer is remembered.
 *
 * @param options `memory`: file that remembers the answer; `url`: what is asked for; `now_ms`:
 * present time.
 */
export async function baseRuntime(
  options: { memory?: URL; url?: string; now_ms?: number } = {},
): Promise<BaseRuntime> {
  if (Deno.env.get("DENORT_BIN")) return "DENORT_BIN";
  const { memory = DEFAULT_MEMORY_URL, url = archiveUrl(), now_ms = Date.now() } = options;
  let is_reachable = recall(memory, url, now_ms);
  if (is_reachable === undefined) {
    is_reachable = await probe(url);
    remember(memory, { url, is_reachable, checked_ms: now_ms });
  }
  return is_reachable ? "download" : "none";
}

/**
 * Runs `deno compile` on a program.
 *
 * @param program What the executable is to run; its shim is embedded unless it is empty.
 * @param out Path of the executable.
 * @throws CompileError when `deno compile` fails, for example without a network.
 */
export async function denoCompile(program: Program, out: string): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "ghost_compile_" });
  try {
    await Deno.writeTextFile(`${folder}/bundle.js`, program.bundle);
    const include: string[] = [];
    if (program.shim.length > 0) {
      await Deno.writeFile(`${folder}/${SHIM_FILE}`, program.shim);
      include.push("--include", `${folder}/${SHIM_FILE}`);
    }
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "compile",
        "-A",
        "--no-config",
        "--no-lock",
        "--no-check",
        "--cached-only",
        "--no-remote",
        "--no-npm",
        `--v8-flags=${[...BASE_V8_FLAGS, ...program.v8_flags].join(",")}`,
        ...include,
        "-o",
        out,
        `${folder}/bundle.js`,
      ],
      cwd: folder,
      env: { NO_COLOR: "1" },
      stdout: "null",
      stderr: "piped",
    }).output();
    if (success) return;
    const text = new TextDecoder().decode(stderr).trim();
    throw new CompileError(`deno compile failed: ${text}; or use --mode=patch`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
