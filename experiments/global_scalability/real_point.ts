/**
 * One point of global_scalability on a real kernel: an agent of this program schedules real threads
 * that only yield.
 *
 * @module
 */
import { errnoName } from "../../ffi/errno.ts";
import { loadExperiments } from "../../ffi/experiments.ts";
import { loadShim } from "../../ffi/shim.ts";
import { CpuList } from "../../lib/cpu_list.ts";
import { OperatingError } from "../../lib/errors.ts";
import {
  SCHED_ITEM_RUNNABLE,
  SchedItem,
  WORK_CLASS_ONESHOT,
  WORK_CLASS_REPEATING,
  WorkClass,
} from "../../shared/prio_table.ts";
import { PrioTableClient } from "../../shared/prio_table_client.ts";
import { PrioTable } from "../../shared/prio_table.ts";
import { chooseEnclave, type ChosenEnclave } from "../../util/enclave_choice.ts";
import { threadGtid } from "../../util/thread_gtid.ts";
import { type OwnProgram, startOwnProgram } from "../own_program.ts";
import { joinEnclave } from "../shared/enclave_threads.ts";
import type { ScalabilityOptions, ScalabilityPoint } from "./options.ts";

const READY_LINE = "Initialization complete, ghOSt active.";
const REPEATING_WCID = 2;
const STREAM_CAPACITY = 19;
const DEADLINE_NS = 1_000_000;

/** The agents by upstream's name of the policy. */
const AGENTS = { edf: "agent_exp", sol: "agent_sol", shinjuku: "agent_shinjuku" } as const;

/** Arguments of an agent for some CPUs. */
export function agentArgs(
  policy: keyof typeof AGENTS,
  cpus: readonly number[],
  kernel: string,
): string[] | OperatingError {
  const list = CpuList.from(cpus);
  const common = [`--globalcpu=${cpus[0]}`, `--kernel=${kernel}`];
  if (policy !== "shinjuku") return [`--ghost_cpus=${list}`, ...common];
  const [first, last] = [list.front(), list.back()];
  if (last - first + 1 !== cpus.length) {
    return new OperatingError(
      `agent_shinjuku takes a range of CPUs, and not ${list}`,
      "try another --max_cpus, or with and without --pack_smt",
    );
  }
  const slice = "--preemption_time_slice=50us";
  return [`--firstcpu=${first}`, `--ncpus=${cpus.length}`, slice, ...common];
}

/** The threads' table: every row repeats, has work and a deadline in a millisecond. */
function makeTable(thread_count: number): PrioTableClient {
  const client = new PrioTableClient(PrioTable.create(thread_count, 3, STREAM_CAPACITY));
  const work_class = new WorkClass();
  for (const [id, flags] of [0, WORK_CLASS_ONESHOT, WORK_CLASS_REPEATING].entries()) {
    work_class.id = id;
    work_class.flags = flags;
    work_class.exectime_ns = id === 0 ? 0 : 10_000_000;
    work_class.period_ns = id === REPEATING_WCID ? 100_000_000 : 0;
    client.setWorkClass(id, work_class);
  }
  return client;
}

function addRows(
  client: PrioTableClient,
  chosen: ChosenEnclave,
  tids: readonly number[],
): OperatingError | undefined {
  const item = new SchedItem();
  for (const [sid, tid] of tids.entries()) {
    const gtid = threadGtid(chosen.kernel.kind, tid);
    if (gtid instanceof OperatingError) return gtid;
    item.sid = sid;
    item.wcid = REPEATING_WCID;
    item.flags = SCHED_ITEM_RUNNABLE;
    item.gtid_lo = gtid.lo;
    item.gtid_hi = gtid.hi;
    item.deadline_ns = loadShim().clockMonotonicNs() + DEADLINE_NS;
    client.setSchedItem(sid, item);
  }
  return undefined;
}

/** Lets threads yield in an enclave. Returns the time until the last one has ended, in ns. */
async function yieldIn(
  chosen: ChosenEnclave,
  point: ScalabilityPoint,
): Promise<number | OperatingError> {
  const { yieldCreate, poolTid, poolGo, poolFree, poolMarkExit } = loadExperiments();
  const { thread_count, loop_count } = point;
  const handle = yieldCreate(thread_count, loop_count);
  if (handle < 0) {
    return new OperatingError(
      `${thread_count} threads cannot be started (${errnoName(-handle)})`,
      "raise `ulimit -u`, or give a smaller --threads_per_cpu",
    );
  }
  const tids = Array.from({ length: thread_count }, (_, sid) => poolTid(handle, sid));
  const client = makeTable(thread_count);
  const fault = joinEnclave(chosen, tids) ?? addRows(client, chosen, tids);
  if (fault !== undefined) tids.forEach((_, sid) => poolMarkExit(handle, sid));
  const start_ns = loadShim().clockMonotonicNs();
  poolGo(handle);
  await poolFree(handle);
  client.table.close();
  return fault ?? loadShim().clockMonotonicNs() - start_ns;
}

async function startAgent(
  options: ScalabilityOptions,
  point: ScalabilityPoint,
): Promise<OwnProgram | undefined | OperatingError> {
  if (options.policy === "none") return undefined;
  const args = agentArgs(options.policy, point.cpus, options.kernel);
  if (args instanceof OperatingError) return args;
  const name = AGENTS[options.policy];
  const agent = startOwnProgram(name, args);
  if (await agent.waitForLine(READY_LINE)) return agent;
  const { code, stderr } = await agent.ended();
  return new OperatingError(
    `${name} ended with status ${code}: ${stderr.trim().split("\n").at(-1)}`,
    "see `ghostctl doctor`",
  );
}

/**
 * Measures a point.
 *
 * @param options What is asked for.
 * @param point CPUs, threads and yields.
 * @returns Time from the first thread's start to the last one's end, in ns; or what is missing.
 */
export async function realElapsedNs(
  options: ScalabilityOptions,
  point: ScalabilityPoint,
): Promise<number | OperatingError> {
  const agent = await startAgent(options, point);
  if (agent instanceof OperatingError) return agent;
  try {
    const chosen = await chooseEnclave(options.kernel, options.enclave);
    return chosen instanceof OperatingError ? chosen : await yieldIn(chosen, point);
  } finally {
    agent?.interrupt();
    await agent?.ended();
  }
}
