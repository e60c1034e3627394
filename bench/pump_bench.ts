/**
 * The message pump: a native producer sends 32-byte messages, the consumer looks the task up,
 * queues it, takes the next one off the run queue and opens a transaction. The library's own
 * classes against the same loop in C at -O2, in one run and on the same memory. And the shipped
 * policy's own step over 10^8 messages of every type and transactions of every outcome: how often
 * V8 collected garbage or threw code away meanwhile.
 *
 * @module
 */
import { BASE_V8_FLAGS } from "../tools/compile/payload.ts";

/** Where code and memory lie differs from process to process, and the C loop is 1.6 times apart. */
const PROCESS_COUNT = 5;
const GC_WARM_UP_MESSAGES = 5_000_000;
const GC_MESSAGES = 100_000_000;
/** Lines of --trace-gc and --trace-deopt. */
const COLLECTION = /^\[\d+:.*\b(Scavenge|Mark-Compact|Minor Mark)/gm;
const DEOPTIMISATION = /^\[bailout \(kind: deopt/gm;

/** Runs a module of this folder with the V8 flags of every executable; what it wrote. */
export async function runChild(
  module: string,
  v8_flags: readonly string[],
  args: readonly string[],
): Promise<string> {
  const flags = [...BASE_V8_FLAGS, ...v8_flags].join(",");
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", `--v8-flags=${flags}`, moduleUrl(module), ...args],
    stdin: "null",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`${module} failed; its message is above`);
  return new TextDecoder().decode(stdout);
}

function moduleUrl(module: string): string {
  return new URL(module, import.meta.url).href;
}

/**
 * Counts what V8 did between two marks.
 *
 * @param trace What the child wrote.
 * @returns Collections and deoptimisations after "WARM" and before "DONE".
 */
export function countTrace(trace: string): { gc_count: number; deopt_count: number } {
  const begin = trace.indexOf("WARM\n");
  const end = trace.indexOf("DONE\n");
  if (begin < 0 || end < begin) throw new Error("the trace has no marks");
  const part = trace.slice(begin, end);
  return {
    gc_count: part.match(COLLECTION)?.length ?? 0,
    deopt_count: part.match(DEOPTIMISATION)?.length ?? 0,
  };
}

/** The figures that a traced child writes after its last mark, among lines of V8. */
// deno-lint-ignore no-explicit-any
export function factsOf(trace: string): any {
  const lines = trace.slice(trace.indexOf("DONE\n")).split("\n");
  return JSON.parse(lines.find((line) => line.startsWith("{")) ?? "{}");
}

/** The median of each figure. */
function medians(runs: readonly Record<string, number>[]): Record<string, number> {
  return Object.fromEntries(
    Object.keys(runs[0]).map((name) => {
      const values = runs.map((run) => run[name]).sort((a, b) => a - b);
      return [name, values[values.length >> 1]];
    }),
  );
}

/** What V8 did while the shipped policy's step read messages. */
export interface Garbage {
  /** Collections. */
  readonly gc_count: number;
  /** Deoptimisations. */
  readonly deopt_count: number;
  /** Messages that the step read meanwhile. */
  readonly message_count: number;
  /** Time per message in ns. */
  readonly step_message_ns: number;
}

/**
 * Sends messages of every type, with transactions of every outcome, through the shipped policy's
 * own step, in a process of its own.
 *
 * @param warm_up_count Messages before anything counts.
 * @param message_count Messages that count.
 * @param policy Name of the policy.
 */
export async function countGarbage(
  warm_up_count: number,
  message_count: number,
  policy = "fifo_per_cpu",
): Promise<Garbage> {
  const flags = ["--trace-gc", "--trace-deopt"];
  const args = [String(warm_up_count), String(message_count), policy];
  const trace = await runChild("./pump_gc_child.ts", flags, args);
  const facts = factsOf(trace);
  if (!facts.has_shown_all || facts.message_count < message_count) {
    throw new Error("the step did not see every message type and outcome");
  }
  return { ...countTrace(trace), ...facts };
}

async function watchForGarbage(): Promise<Record<string, number>> {
  const garbage = await countGarbage(GC_WARM_UP_MESSAGES, GC_MESSAGES);
  return {
    pump_gc_count: garbage.gc_count + garbage.deopt_count,
    pump_step_message_ns: garbage.step_message_ns,
  };
}

/**
 * Measures the pump.
 *
 * @returns pump_throughput_ratio: messages per second, divided by those of C; pump_rtt_p50_ratio
 * and pump_rtt_p99_ratio: round trip from message to transaction, divided by that of C;
 * pump_gc_count: collections and deoptimisations after warm-up; and the times behind them in ns.
 */
export async function run(): Promise<Record<string, number>> {
  const runs: Record<string, number>[] = [];
  for (let n = 0; n < PROCESS_COUNT; n++) {
    runs.push(JSON.parse(await runChild("./pump_child.ts", [], [])));
  }
  return { ...medians(runs), ...await watchForGarbage() };
}
