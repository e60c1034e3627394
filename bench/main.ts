/**
 * `deno task bench`: measures every figure that has a goal, prints a table with the machine it was
 * measured on, and writes the figures as JSON if asked to. Missed goals are told, and are no
 * failure: they depend on the machine.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { tableText } from "../util/table.ts";
import { formatFigure, TARGETS, verdict } from "./targets.ts";

const HELP = `usage: deno task bench [--json FILE] [--only NAME]
  --json FILE   write the figures to FILE
  --only NAME   only one module (MODULES) or the module that measures a figure`;

/** Version of the layout of what --json writes. */
const SCHEMA_VERSION = 1;

/** A module bench/<name>_bench.ts. */
interface BenchModule {
  run(): Record<string, number> | Promise<Record<string, number>>;
}

const MODULES: Readonly<Record<string, () => Promise<BenchModule>>> = {
  pump: () => import("./pump_bench.ts"),
  sim: () => import("./sim_bench.ts"),
  exe: () => import("./exe_bench.ts"),
};

interface Request {
  readonly json_path: string | undefined;
  readonly modules: readonly string[];
}

/** The modules that `--only` names; none if there is no such name. */
function chooseModules(only: string | undefined): string[] {
  if (only === undefined) return Object.keys(MODULES);
  if (Object.hasOwn(MODULES, only)) return [only];
  return Object.hasOwn(TARGETS, only) ? [TARGETS[only].module] : [];
}

/** Makes sure that the file can be written before minutes are spent on what goes into it. */
function jsonFault(path: string): string | undefined {
  try {
    Deno.openSync(path, { write: true, create: true }).close();
    return undefined;
  } catch (error) {
    return `--json: cannot write ${path} (${(error as Error).message}); choose another file`;
  }
}

function parseRequest(args: readonly string[]): Request | string {
  const unknown: string[] = [];
  const flags = parseArgs([...args], {
    string: ["json", "only", "_"],
    unknown: (arg) => void unknown.push(arg),
  });
  if (unknown.length > 0) return `unknown argument "${unknown[0]}"; --help lists them`;
  const modules = chooseModules(flags.only);
  if (modules.length === 0) {
    const names = [...Object.keys(MODULES), ...Object.keys(TARGETS)].join(", ");
    return `--only: no "${flags.only}"; there are: ${names}`;
  }
  if (flags.json === undefined) return { json_path: undefined, modules };
  if (flags.json === "") return "--json needs a file";
  // `deno task` changes to the repository's folder and keeps the caller's here.
  const folder = Deno.env.get("INIT_CWD") ?? Deno.cwd();
  const json_path = flags.json.startsWith("/") ? flags.json : `${folder}/${flags.json}`;
  return jsonFault(json_path) ?? { json_path, modules };
}

/** What the figures were measured on. */
function machine(): Record<string, string | number> {
  let cpu_model = "unknown";
  try {
    const text = Deno.readTextFileSync("/proc/cpuinfo");
    cpu_model = text.match(/^model name\s*:\s*(.*)$/m)?.[1] ?? cpu_model;
  } catch { /* no Linux */ }
  return {
    cpu_model,
    cpu_count: navigator.hardwareConcurrency,
    memory_mib: Math.round(Deno.systemMemoryInfo().total / 2 ** 20),
    kernel: `${Deno.build.os} ${Deno.osRelease()}`,
    arch: Deno.build.arch,
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    load_average: Number(Deno.loadavg()[0].toFixed(2)),
  };
}

function report(figures: Readonly<Record<string, number>>): string {
  const rows = Object.entries(figures).map(([name, value]) => {
    const { wanted, text } = verdict(name, value);
    const what = Object.hasOwn(TARGETS, name) ? TARGETS[name].what : "";
    return [name, formatFigure(value), wanted, text, what];
  });
  const columns = ["figure", "value", "wanted", "", "what"].map((head, index) => ({
    head,
    is_left: index === 0 || index > 2,
  }));
  return tableText(columns, rows);
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(HELP.replace("MODULES", Object.keys(MODULES).join(", ")));
    return 0;
  }
  const request = parseRequest(args);
  if (typeof request === "string") {
    console.error(`bench: ${request}`);
    return 2;
  }
  const facts = machine();
  const figures: Record<string, number> = {};
  let failed_count = 0;
  for (const name of request.modules) {
    const start_ms = performance.now();
    console.error(`bench: ${name} ...`);
    try {
      Object.assign(figures, await (await MODULES[name]()).run());
      console.error(`bench: ${name} took ${Math.round((performance.now() - start_ms) / 1000)} s`);
    } catch (error) {
      failed_count++;
      console.error(`bench: ${name} failed: ${error instanceof Error ? error.message : error}`);
    }
  }
  console.log(report(figures));
  console.log(Object.entries(facts).map(([name, value]) => `${name}: ${value}`).join("\n"));
  if (request.json_path !== undefined) {
    const json = { schema_version: SCHEMA_VERSION, machine: facts, ...figures };
    await Deno.writeTextFile(request.json_path, `${JSON.stringify(json, null, 2)}\n`);
  }
  return failed_count > 0 ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
