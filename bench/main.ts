/**
 * `deno task bench [--json FILE] [--only NAME]`: measures, and prints each figure beside what is
 * wanted. Medians of several runs, both sides of a ratio in one run.
 *
 * @module
 */
import { EXIT_FAILURE, OperatingError, UsageError } from "../lib/errors.ts";
import { readTextFile } from "../lib/host_files.ts";
import { type Flag, flagsHelp, parseFlags } from "../util/flags.ts";
import { OutputFile } from "../util/output_file.ts";
import { tableText } from "../util/table.ts";
import { TARGETS, verdict } from "./targets.ts";

/** How thorough a bench is. */
export interface BenchOptions {
  /** Takes the time that a figure's wording names, where less will do to see it roughly. */
  readonly is_long: boolean;
}

type Bench = (options: BenchOptions) => Promise<Record<string, number>>;

/** Each bench in the order in which they run. */
const BENCHES: Readonly<Record<string, () => Promise<{ run: Bench }>>> = {
  pump: () => import("./pump_bench.ts"),
  txn: () => import("./txn_bench.ts"),
  sim: () => import("./sim_bench.ts"),
  exe: () => import("./exe_bench.ts"),
  start: () => import("./start_bench.ts"),
};

/** Version of the layout of what --json writes. */
const JSON_SCHEMA = 1;

const FLAGS: readonly Flag[] = [
  { name: "json", value: "FILE", help: "write the figures there too" },
  {
    name: "only",
    value: "NAME",
    help: `one bench (${Object.keys(BENCHES).join(", ")}) or that of a figure`,
  },
  { name: "long", help: "watch for garbage for 60 s instead of 10" },
  { name: "help", help: "print this" },
];

/** The machine in one line, since figures mean nothing without it. */
export function machineText(read: (path: string) => string | undefined = readTextFile): string {
  const cpuinfo = read("/proc/cpuinfo") ?? "";
  const model = /^model name\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? "unknown CPU";
  const release = read("/proc/sys/kernel/osrelease")?.trim() ?? Deno.build.os;
  const { deno, v8 } = Deno.version;
  return `${navigator.hardwareConcurrency} x ${model}, Linux ${release}, Deno ${deno}, V8 ${v8}`;
}

function figureText(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 3 : 1);
}

/** The table of what was measured. */
export function figureTable(figures: Readonly<Record<string, number>>): string {
  const rows = TARGETS.filter(({ name }) => figures[name] !== undefined).map((target) => [
    target.name,
    figureText(figures[target.name]),
    `${target.at_least ? ">=" : "<="} ${figureText(target.bound)}`,
    verdict(target, figures[target.name]),
    target.what,
  ]);
  const known = new Set(TARGETS.map(({ name }) => name));
  const others = Object.entries(figures).filter(([name]) => !known.has(name))
    .map(([name, value]) => [name, figureText(value), "", "", ""]);
  return tableText([
    { head: "figure", is_left: true },
    { head: "value", is_left: false },
    { head: "wanted", is_left: false },
    { head: "", is_left: true },
    { head: "what", is_left: true },
  ], [...rows, ...others]);
}

/**
 * The benches that `--only` names.
 *
 * @param only A bench, a figure, or "" for all.
 * @returns Their names; none if there is no such bench and no such figure.
 */
export function chooseBenches(only: string): string[] {
  const known = Object.keys(BENCHES);
  if (only === "" || known.includes(only)) return only === "" ? known : [only];
  return TARGETS.filter(({ name }) => name === only).map(({ bench }) => bench);
}

/** Figures by name, and how many benches failed: the others still say something. */
async function measure(
  names: readonly string[],
  options: BenchOptions,
): Promise<{ figures: Record<string, number>; failed_count: number }> {
  const figures: Record<string, number> = {};
  let failed_count = 0;
  for (const name of names) {
    console.error(`bench: ${name} ...`);
    const start_ms = performance.now();
    try {
      const { run } = await BENCHES[name]();
      Object.assign(figures, await run(options));
      console.error(`bench: ${name} took ${((performance.now() - start_ms) / 1000).toFixed(0)} s`);
    } catch (error) {
      failed_count++;
      console.error(`bench: ${name} failed: ${error instanceof Error ? error.message : error}`);
    }
  }
  return { figures, failed_count };
}

async function main(args: readonly string[]): Promise<number | OperatingError> {
  const flags = parseFlags(FLAGS, args, "deno task bench");
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) {
    console.log("usage: deno task bench [FLAGS]\n\n" + flagsHelp(FLAGS));
    return 0;
  }
  const names = chooseBenches(flags.text("only"));
  if (names.length === 0) {
    const text = `unknown bench ${JSON.stringify(flags.text("only"))}`;
    return new UsageError(text, `give one of: ${Object.keys(BENCHES).join(", ")}, or a figure`);
  }
  const file = flags.has("json") ? OutputFile.open(flags.text("json")) : undefined;
  if (file instanceof UsageError) return new UsageError(`--json: ${file.fault}`, file.cure);
  try {
    const machine = machineText();
    console.log(machine);
    const { figures, failed_count } = await measure(names, { is_long: flags.has("long") });
    console.log(figureTable(figures));
    file?.write(
      JSON.stringify({ schema_version: JSON_SCHEMA, machine, ...figures }, null, 2) + "\n",
    );
    file?.commit();
    return failed_count === 0 ? 0 : EXIT_FAILURE;
  } finally {
    file?.abandon();
  }
}

if (import.meta.main) {
  const status = await main(Deno.args);
  if (status instanceof OperatingError) console.error(`bench: ${status.message}`);
  Deno.exit(status instanceof OperatingError ? status.exit_status : status);
}
