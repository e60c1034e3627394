/**
 * `deno task check`: format, lint with the project's own rules, types, public documentation,
 * publishability and source text. Every step runs, so that one call shows all that is wrong.
 *
 * @module
 */
import { startStubRegistry } from "./std_offline/stub_registry.ts";
import { rootPath, stdFlags, stdSource } from "./std_source.ts";
import { tidyTree } from "./tidy.ts";

/** Result of one step. */
interface Outcome {
  readonly is_ok: boolean;
  /** What the step printed. */
  readonly text: string;
}

/** Runs deno in the repository's root. */
async function deno(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: rootPath(),
    env: Deno.stdout.isTerminal() ? env : { ...env, NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { is_ok: success, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** Subcommands that read deno.json and nothing else need a registry: offline, one on loopback. */
async function denoWithRegistry(args: readonly string[]): Promise<Outcome> {
  if (await stdSource() === "jsr") return await deno(args);
  const registry = await startStubRegistry();
  const deno_dir = await Deno.makeTempDir({ prefix: "check_" });
  try {
    return await deno(args, { JSR_URL: registry.url, DENO_DIR: deno_dir });
  } finally {
    await registry.close();
    await Deno.remove(deno_dir, { recursive: true });
  }
}

/** The package's entries: what deno.json exports. */
function entries(): string[] {
  const config: { exports: Record<string, string> } = JSON.parse(
    Deno.readTextFileSync(new URL("../deno.json", import.meta.url)),
  );
  return Object.values(config.exports);
}

function tidy(): Outcome {
  const faults = tidyTree(rootPath());
  return { is_ok: faults.length === 0, text: faults.join("\n") };
}

/** The steps by name. */
function steps(flags: readonly string[]): [name: string, run: () => Outcome | Promise<Outcome>][] {
  return [
    ["format", () => deno(["fmt", "--check"])],
    ["lint and import rules", () => denoWithRegistry(["lint"])],
    ["types", () => deno(["check", "--quiet", ...flags, "."])],
    ["public documentation", () => deno(["doc", "--quiet", "--lint", ...flags, ...entries()])],
    [
      "publishable, no slow types",
      () => denoWithRegistry(["publish", "--dry-run", "--allow-dirty"]),
    ],
    ["source text", tidy],
  ];
}

async function main(): Promise<number> {
  const failed: string[] = [];
  for (const [name, run] of steps(stdFlags(await stdSource()))) {
    const start_ms = performance.now();
    const { is_ok, text } = await run();
    const seconds = ((performance.now() - start_ms) / 1000).toFixed(1);
    console.log(`check: ${name} ... ${is_ok ? "ok" : "FAILED"} (${seconds} s)`);
    if (is_ok) continue;
    failed.push(name);
    console.log(text.trimEnd());
  }
  console.log(failed.length === 0 ? "check: all passed" : `check: failed: ${failed.join("; ")}`);
  return failed.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
