/**
 * Upstream's edf_test on a real kernel, reference section 8.10: real threads that tell agent_exp
 * their deadlines and whether they have work. One agent serves all cases, as there.
 *
 * Usage: edf_cases.ts ghost|scx. Prints a line for each case.
 *
 * @module
 */
import { type HintTablePlan, LoadHints } from "../../experiments/load_hints.ts";
import { cpuMask } from "../../experiments/load_program.ts";
import {
  enterGhost,
  expectInGhost,
  fork,
  FORK_NS,
  hint,
  join,
  type LoadStep,
  loop,
  rest,
  run,
  sleep,
  type ThreadKind,
  threadKind,
  yieldCpu,
} from "../../experiments/load_steps.ts";
import { RealLoad } from "../../experiments/real_load.ts";
import { EDF_HINTS } from "../../experiments/simple_edf/load.ts";
import { OperatingError } from "../../lib/errors.ts";
import { chooseEnclaveToJoin, type ChosenEnclave, THIS_HOST } from "../../util/enclave_choice.ts";
import { PROCESS_TOOL_HOST } from "../../util/tool_host.ts";

const MS = 1_000_000;
const TIMEOUT_NS = 120e9;
const DEADLINE_NS = 100 * MS;
const WORK_NS = 10 * MS;
/** All threads have told that they have no work: so long none of them may burn a CPU. */
const QUIET_NS = 500 * MS;
/** Share of one CPU that threads without work may get meanwhile: those that were on their way. */
const QUIET_SHARE = 0.2;
const ONESHOT = 1;
const REPEATING = 2;
/** Rows of all cases, of which each takes its own; the work classes are those of simple_edf. */
const TABLE: HintTablePlan = { ...EDF_HINTS, item_count: 2000 };

/** What is done while the threads run; says what is wrong. */
type Watch = (
  load: RealLoad,
  hints: LoadHints,
  first_sid: number,
  policy: number,
) => Promise<string | undefined>;

interface Case {
  readonly name: string;
  readonly thread: ThreadKind;
  readonly count: number;
  readonly watch?: Watch;
}

function kind(name: string, class_id: number, ...steps: LoadStep[]): ThreadKind {
  return threadKind(name, hint(class_id, DEADLINE_NS), enterGhost(), ...steps);
}

const SIMPLE = kind("simple", ONESHOT, sleep(10 * MS), yieldCpu(), expectInGhost("it stays"));
const MANY_COUNT = 1000;

const TICK_NS = 10 * MS;

/** CPU time in ns of those threads of this process that an agent schedules. */
function agentTasksNs(policy: number): number {
  let ticks = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    const stat = Deno.readTextFileSync(`/proc/self/task/${name}/stat`);
    // From the state on, which is the third field.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
    if (fields[38] === policy) ticks += fields[11] + fields[12];
  }
  return ticks * TICK_NS;
}

/** As upstream's handshake: all are idle, and stay so; then each is told that it has work. */
async function giveWork(
  load: RealLoad,
  hints: LoadHints,
  first_sid: number,
  policy: number,
): Promise<string | undefined> {
  // The first thread starts the others, and has no row.
  const sids = Array.from({ length: MANY_COUNT }, (_, n) => first_sid + 1 + n);
  while (!sids.every((sid) => hints.hasRested(sid))) {
    if (!await load.advance(100 * MS)) return "a thread ended before it was given work";
  }
  const [begin_ms, before_ns] = [performance.now(), agentTasksNs(policy)];
  await load.advance(QUIET_NS);
  const used = (agentTasksNs(policy) - before_ns) / MS / (performance.now() - begin_ms);
  for (const sid of sids) hints.markRunnable(sid);
  return used > QUIET_SHARE ? `threads without work used ${used.toFixed(2)} CPUs` : undefined;
}

const CASES: readonly Case[] = [
  { name: "edf_test Simple", thread: SIMPLE, count: 1 },
  { name: "edf_test SimpleAgain", thread: SIMPLE, count: 1 },
  {
    name: "edf_test SimpleMany",
    thread: kind("many", ONESHOT, rest(), run(20_000), expectInGhost("it stays")),
    count: MANY_COUNT,
    watch: giveWork,
  },
  {
    name: "edf_test SimpleRepeatable",
    thread: kind("repeat", REPEATING, loop(10, run(WORK_NS), rest()), expectInGhost("it stays")),
    count: 1,
  },
  {
    name: "edf_test BusyRunFor",
    thread: kind("busy", ONESHOT, run(WORK_NS), expectInGhost("it stays")),
    count: 100,
  },
];

/** Runs a case; what is wrong. */
async function runCase(one: Case, chosen: ChosenEnclave, hints: LoadHints): Promise<string[]> {
  const { thread, count, watch } = one;
  const { kernel, enclave } = chosen;
  const cpus = enclave.cpus();
  const rows = hints.take(count + 1);
  const policy = PROCESS_TOOL_HOST.policyOf(kernel.kind);
  const load = new RealLoad(threadKind(one.name, fork(thread, count, FORK_NS), join()), {
    join: (tid) => enclave.join(tid),
    self_join: enclave.selfJoin(),
    policy,
    thread_capacity: count + 1,
    cpu_mask: cpuMask(typeof cpus === "number" ? [] : cpus),
    hints: rows,
    seed: 1,
    timeout_ns: TIMEOUT_NS,
  });
  const fault = await watch?.(load, hints, rows.first_sid, policy);
  const { faults } = await load.finish();
  return fault === undefined ? [...faults] : [fault, ...faults];
}

async function main(kernel: string): Promise<number> {
  const chosen = await chooseEnclaveToJoin(kernel, "", THIS_HOST);
  if (chosen instanceof OperatingError) {
    console.error(chosen.message);
    return 1;
  }
  const hints = new LoadHints(TABLE, chosen.kernel.kind);
  let failed_count = 0;
  for (const one of CASES) {
    const faults = await runCase(one, chosen, hints);
    console.log(`${faults.length === 0 ? "ok" : "FAIL"}  ${one.name}`);
    for (const fault of faults) console.log(`      ${fault}`);
    if (faults.length > 0) failed_count++;
  }
  hints.close();
  console.log(`cases ${CASES.length - failed_count} passed, ${failed_count} failed`);
  return failed_count === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args[0]));
