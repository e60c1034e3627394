/**
 * `deno task experiment rocksdb SWEEP [cfs] [ghost]`: the sweeps of upstream's scripts, with real
 * programs on this host (reference section 6.5). Host set-up is left to the user: upstream's
 * scripts switch deep C-states off, and put files on a tmpfs with huge pages.
 *
 * @module
 */
import type { CpuList } from "../../lib/cpu_list.ts";
import { OperatingError, UsageError } from "../../lib/errors.ts";
import { ioReason } from "../../lib/host_files.ts";
import { type Flag, flagsHelp, type FlagValues, parseFlags } from "../../util/flags.ts";
import { tableText } from "../../util/table.ts";
import { startOwnProgram } from "../own_program.ts";
import { PointProgress } from "../point_progress.ts";
import { OUT_FLAG, ResultsFolder } from "../results_folder.ts";
import { onlineCpus } from "../shared/host_cpus.ts";
import {
  parseThroughputs,
  pointPlan,
  SCRIPTS,
  type SweepHost,
  type SweepScheduler,
} from "./sweep_plan.ts";
import {
  csvText,
  parseAntagonist,
  parseRocksdb,
  sweepPage,
  type SweepPoint,
  totalOf,
  upstreamLines,
} from "./sweep_results.ts";

const FLAGS: readonly Flag[] = [
  {
    name: "first_cpu",
    value: "CPU",
    help: "first CPU to use (default 10 as upstream's where the host has them, else 1)",
  },
  { name: "num_cpus", value: "N", help: "CPUs to use (default 8, or what the host has)" },
  {
    name: "throughputs",
    value: "LIST",
    help: "requests/s, as 1000,10000-40000/10000 (default: the script's)",
  },
  { name: "experiment_duration", value: "TIME", fallback: "15s", help: "time of each point" },
  { name: "discard_duration", value: "TIME", fallback: "2s", help: "time that does not count" },
  {
    name: "rocksdb_db_path",
    value: "FOLDER",
    fallback: "/dev/shm/orch_db",
    help: "folder of the database; it stays",
  },
  { name: "rocksdb_library", value: "FILE", fallback: "", help: "see `rocksdb --help`" },
  { name: "seed", value: "N", fallback: "1", help: "seed of the requests" },
  OUT_FLAG,
  { name: "help", help: "print this" },
];

/** Upstream's place: eight CPUs from CPU 10 on. */
const UPSTREAM_FIRST_CPU = 10;
const UPSTREAM_CPU_COUNT = 8;

/** What is asked for. */
interface Request {
  readonly script: string;
  readonly schedulers: readonly SweepScheduler[];
  readonly host: SweepHost;
  readonly throughputs: Readonly<Record<SweepScheduler, readonly number[]>>;
  readonly out: string;
}

function helpText(): string {
  const scripts = Object.entries(SCRIPTS).map(([name, { summary }]) =>
    `  ${name.padEnd(20)} ${summary}\n`
  ).join("");
  return "usage: deno task experiment rocksdb SWEEP [cfs] [ghost] [FLAGS]\n\n" +
    `${scripts}\n${flagsHelp(FLAGS)}`;
}

/** CPUs that a sweep uses, all of them online. */
function cpusOf(
  flags: FlagValues,
  online: CpuList,
  schedulers: readonly string[],
): { first_cpu: number; cpu_count: number } | UsageError {
  const last_cpu = online.back();
  const fits = last_cpu >= UPSTREAM_FIRST_CPU + UPSTREAM_CPU_COUNT - 1;
  const first_cpu = flags.has("first_cpu")
    ? flags.integer("first_cpu", 1, Math.max(last_cpu, 1))
    : fits
    ? UPSTREAM_FIRST_CPU
    : 1;
  if (first_cpu instanceof UsageError) return first_cpu;
  const room = last_cpu - first_cpu + 1;
  if (room < 1) {
    return new UsageError(
      `this host has ${online.size} CPU`,
      "CPU 0 is for background threads, so a sweep needs two or more",
    );
  }
  const cpu_count = flags.has("num_cpus")
    ? flags.integer("num_cpus", 1, room)
    : Math.min(UPSTREAM_CPU_COUNT, room);
  if (cpu_count instanceof UsageError) return cpu_count;
  if (schedulers.includes("ghost") && cpu_count < 3) {
    return new UsageError(
      `ghost cannot run on ${cpu_count} CPU${cpu_count === 1 ? "" : "s"}`,
      "it needs three beside CPU 0: load generator, global agent, and one for the workers",
    );
  }
  return { first_cpu, cpu_count };
}

function request(args: readonly string[], online: CpuList): Request | UsageError | "help" {
  const words = args.findIndex((arg) => arg.startsWith("--"));
  const [script, ...names] = args.slice(0, words < 0 ? args.length : words);
  const flags = parseFlags(FLAGS, words < 0 ? [] : args.slice(words), "experiment rocksdb");
  if (flags instanceof UsageError) return flags;
  if (flags.has("help")) return "help";
  if (script === undefined || !Object.hasOwn(SCRIPTS, script)) {
    const what = script === undefined ? "no sweep named" : `unknown sweep "${script}"`;
    return new UsageError(what, `give one of ${Object.keys(SCRIPTS).join(", ")}`);
  }
  const wrong = names.find((name) => name !== "cfs" && name !== "ghost");
  if (wrong !== undefined) return new UsageError(`unknown scheduler "${wrong}"`, "cfs or ghost");
  const schedulers = (names.length === 0 ? ["cfs"] : [...new Set(names)]) as SweepScheduler[];
  const cpus = cpusOf(flags, online, schedulers);
  if (cpus instanceof UsageError) return cpus;
  const seed = flags.integer("seed", 0, Number.MAX_SAFE_INTEGER);
  if (seed instanceof UsageError) return seed;
  const listOf = (scheduler: SweepScheduler): number[] | UsageError =>
    parseThroughputs(
      flags.has("throughputs") ? flags.text("throughputs") : SCRIPTS[script].throughputs[scheduler],
    );
  const [cfs, ghost] = [listOf("cfs"), listOf("ghost")];
  if (cfs instanceof UsageError) return cfs;
  if (ghost instanceof UsageError) return ghost;
  const host: SweepHost = {
    ...cpus,
    seed,
    experiment_duration: flags.text("experiment_duration"),
    discard_duration: flags.text("discard_duration"),
    db_path: flags.text("rocksdb_db_path"),
    library: flags.text("rocksdb_library"),
  };
  return { script, schedulers, host, throughputs: { cfs, ghost }, out: flags.text("out") };
}

function endedBadly(name: string, ended: { code: number; stderr: string }): OperatingError {
  const said = ended.stderr.trim().split("\n").at(-1) ?? "";
  return new OperatingError(
    `${name} ended with status ${ended.code}: ${said}`,
    `\`${name} --help\` explains its flags`,
  );
}

/** Runs the programs of one point. */
async function runPoint(
  asked: Request,
  scheduler: SweepScheduler,
  throughput: number,
): Promise<SweepPoint | OperatingError> {
  const plan = pointPlan(asked.script, scheduler, asked.host, throughput);
  const agent = plan.agent && startOwnProgram("agent_shinjuku", plan.agent);
  try {
    if (agent && !await agent.waitForLine("Initialization complete, ghOSt active.")) {
      return endedBadly("agent_shinjuku", await agent.ended());
    }
    const rocksdb = startOwnProgram("rocksdb", plan.rocksdb, plan.nice[0]);
    if (!await rocksdb.waitForLine("Initialization complete.")) {
      return endedBadly("rocksdb", await rocksdb.ended());
    }
    const antagonist = plan.antagonist &&
      startOwnProgram("antagonist", plan.antagonist, plan.nice[1]);
    const [served, soaked] = await Promise.all([rocksdb.ended(), antagonist?.ended()]);
    if (served.code !== 0) return endedBadly("rocksdb", served);
    if (soaked !== undefined && soaked.code !== 0) return endedBadly("antagonist", soaked);
    const rows = parseRocksdb(served.stdout);
    if (rows instanceof OperatingError) return rows;
    return {
      scheduler,
      offered_rps: throughput,
      seed: asked.host.seed,
      rows,
      antagonist: parseAntagonist(soaked?.stdout ?? ""),
    };
  } finally {
    agent?.interrupt();
    await agent?.ended();
  }
}

/** Upstream's files, in a folder of their own; written as points come. */
class UpstreamFiles {
  readonly #folder: string;
  readonly #options: string;
  readonly #begun = new Set<string>();

  constructor(asked: Request, scheduler: SweepScheduler) {
    this.#folder = `${asked.out}/rocksdb_${asked.script}_${scheduler}`;
    this.#options = JSON.stringify({ ...asked.host, script: asked.script, scheduler });
    Deno.mkdirSync(this.#folder, { recursive: true });
  }

  add(point: SweepPoint): void {
    for (const [name, line] of Object.entries(upstreamLines(point))) {
      const is_new = !this.#begun.has(name);
      this.#begun.add(name);
      const text = is_new ? `${this.#options}\n${line}` : line;
      Deno.writeTextFileSync(`${this.#folder}/${name}`, text, { append: !is_new });
    }
  }
}

function table(points: readonly SweepPoint[]): string {
  const columns = ["scheduler", "offered/s", "served/s", "get p50", "get p99", "range p99"];
  const text = (value: number, unit = ""): string => Number.isNaN(value) ? "-" : value + unit;
  return tableText(
    columns.map((head, index) => ({ head, is_left: index === 0 })),
    points.map((point) => [
      point.scheduler,
      String(point.offered_rps),
      text(totalOf(point, "all", "served_rps")),
      text(totalOf(point, "get", "p50_us"), " us"),
      text(totalOf(point, "get", "p99_us"), " us"),
      text(totalOf(point, "range", "p99_us"), " us"),
    ]),
  );
}

async function sweep(asked: Request, points: SweepPoint[]): Promise<OperatingError | undefined> {
  let is_stopping = false;
  const stop = (): void => {
    is_stopping = true;
  };
  Deno.addSignalListener("SIGINT", stop);
  const all = asked.schedulers.flatMap((scheduler) => asked.throughputs[scheduler]);
  const progress = new PointProgress(all.length);
  try {
    for (const scheduler of asked.schedulers) {
      const files = new UpstreamFiles(asked, scheduler);
      for (const throughput of asked.throughputs[scheduler]) {
        progress.begin(`${scheduler}, ${throughput} req/s`);
        const point = await runPoint(asked, scheduler, throughput);
        if (point instanceof OperatingError) return point;
        points.push(point);
        files.add(point);
        progress.end();
        if (is_stopping) return undefined;
      }
      progress.part(scheduler);
    }
    return undefined;
  } finally {
    progress.clear();
    Deno.removeSignalListener("SIGINT", stop);
  }
}

async function run(asked: Request): Promise<OperatingError | undefined> {
  const { host, script } = asked;
  const last_cpu = host.first_cpu + host.cpu_count - 1;
  const name = `rocksdb_${script}`;
  const results = ResultsFolder.open(asked.out, name);
  if (results instanceof UsageError) return results;
  const shared = host.cpu_count < 3 ? ", shared by the threads, which sleep while they wait" : "";
  const cpus = host.cpu_count === 1 ? `CPU ${last_cpu}` : `CPUs ${host.first_cpu} to ${last_cpu}`;
  const where = `${cpus} of this host${shared}, ` +
    `${host.experiment_duration} per point, seed ${host.seed}`;
  console.log(`rocksdb ${script}: ${SCRIPTS[script].summary}; ${where}`);
  const points: SweepPoint[] = [];
  const fault = await sweep(asked, points).catch((error) =>
    new OperatingError(`the sweep stopped: ${ioReason(error)}`, "look at the folder of --out")
  );
  if (points.length === 0) {
    results.abandon();
    return fault;
  }
  console.log(table(points));
  const intro = `RocksDB, ${SCRIPTS[script].summary}: ${where}. A get takes 10 us of CPU time, a ` +
    "range query 5 ms, and all threads are real ones.";
  const page = sweepPage(points, `rocksdb: ${script}`, intro);
  console.log(results.commit(csvText(points), page));
  return fault;
}

/**
 * Runs a sweep.
 *
 * @param args Its name, schedulers and flags; `--help` explains them.
 * @returns The exit status.
 */
export async function main(args: readonly string[]): Promise<number> {
  const asked = request(args, onlineCpus());
  if (asked === "help") {
    console.log(helpText());
    return 0;
  }
  const fault = asked instanceof UsageError ? asked : await run(asked);
  if (fault === undefined) return 0;
  console.error(`experiment rocksdb: ${fault.message}`);
  return fault.exit_status;
}
