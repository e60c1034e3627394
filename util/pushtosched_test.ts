import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { SCHED_FIFO, SCHED_OTHER, SCHED_RESET_ON_FORK } from "../ffi/linux.ts";
import { EPERM, ESRCH } from "../ffi/errno.ts";
import { UsageError } from "../lib/errors.ts";
import { stdFlags, stdSource } from "../tools/std_source.ts";
import { moveToOther, parseTids, type SchedulerCalls } from "./pushtosched.ts";

const MAIN = decodeURIComponent(new URL("main.ts", import.meta.url).pathname);
const SCHED_GHOST = 18;

/** Threads by id: policy, or -errno for every call on it. */
class FakeThreads implements SchedulerCalls {
  readonly policies: Map<number, number>;
  /** Set calls as "tid policy priority reset_on_fork". */
  readonly set_calls: string[] = [];
  /** What a set call does to the policy. */
  change: (tid: number, policy: number) => number = (tid, policy) => {
    this.policies.set(tid, policy);
    return 0;
  };

  constructor(policies: Record<number, number>) {
    this.policies = new Map(Object.entries(policies).map(([tid, policy]) => [+tid, policy]));
  }

  schedGetscheduler = (tid: number): number => this.policies.get(tid) ?? -ESRCH;

  schedSetscheduler = (tid: number, policy: number, priority: number, reset: number): number => {
    this.set_calls.push(`${tid} ${policy} ${priority} ${reset}`);
    return this.policies.has(tid) ? this.change(tid, policy) : -ESRCH;
  };
}

function move(threads: FakeThreads, ...tids: number[]): [number, string[]] {
  const lines: string[] = [];
  const status = moveToOther(tids, threads, (line) => lines.push(line));
  return [status, lines];
}

Deno.test("pushtosched moves what is elsewhere and skips what is in SCHED_OTHER already", () => {
  const threads = new FakeThreads({ 7: SCHED_GHOST, 8: SCHED_OTHER });
  assertEquals(move(threads, 7, 8), [0, [
    "Moving processes to SCHED_OTHER (CFS).",
    "pid: 7",
    "pid: 8",
    "Already in sched class SCHED_OTHER, skipping pid 8",
  ]]);
  assertEquals(threads.set_calls, ["7 0 0 0"]);
  assertEquals(threads.policies.get(7), SCHED_OTHER);
});

Deno.test("pushtosched tells a thread that cannot be moved and goes on with the next", () => {
  const threads = new FakeThreads({ 7: SCHED_GHOST, 9: SCHED_FIFO });
  const change = threads.change;
  threads.change = (tid, policy) => tid === 9 ? -EPERM : change(tid, policy);
  const [status, lines] = move(threads, 5, 9, 7);
  assertEquals(status, 0);
  assertStringIncludes(lines[2], "sched_setscheduler failed (pid: 5): ESRCH: ");
  assertStringIncludes(lines[4], "sched_setscheduler failed (pid: 9): EPERM: ");
  assertEquals(lines.slice(5), ["pid: 7"]);
  assertEquals(threads.policies.get(7), SCHED_OTHER);
});

Deno.test("pushtosched ends with 1 when a thread's class cannot be read back", () => {
  const threads = new FakeThreads({ 7: SCHED_GHOST, 8: SCHED_GHOST });
  threads.change = (tid) => threads.policies.delete(tid) ? 0 : 0;
  const [status, lines] = move(threads, 7, 8);
  assertEquals([status, lines.length], [1, 3]);
  assertStringIncludes(lines[2], "sched_getscheduler failed (pid: 7): ESRCH");
});

Deno.test("pushtosched tells a class that did not change, RESET_ON_FORK included", () => {
  const stuck = SCHED_OTHER | SCHED_RESET_ON_FORK;
  const threads = new FakeThreads({ 7: stuck });
  threads.change = () => 0;
  const [status, lines] = move(threads, 7);
  assertEquals(status, 0);
  assertEquals(
    lines[2],
    `Failed to set sched policy of pid 7: want SCHED_OTHER(0), got ${SCHED_RESET_ON_FORK}`,
  );
});

Deno.test("pushtosched takes decimal TIDs between any white space, and nothing else", () => {
  assertEquals(parseTids(" 1\n22\t 2147483647\n"), [1, 22, 2147483647]);
  assertEquals(parseTids(""), []);
  for (const word of ["-1", "0x10", "2147483648", "1.5", "12345678901", "1,2"]) {
    const error = parseTids(`1\n${word}\n`);
    assertInstanceOf(error, UsageError, word);
    assertStringIncludes(error.message, `"${word}"`);
  }
});

/** Runs it as a program. */
async function run(args: string[], stdin: string): Promise<[number, string, string]> {
  const flags = [...stdFlags(await stdSource()), "--no-check"];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...flags, MAIN, "pushtosched", ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return [code, decoder.decode(stdout), decoder.decode(stderr)];
}

Deno.test("pushtosched as a program: this thread is in SCHED_OTHER, arguments are usage", async () => {
  const [code, stdout, stderr] = await run([], `${Deno.pid}\n`);
  assertEquals([code, stdout], [0, ""]);
  assertStringIncludes(stderr, `Already in sched class SCHED_OTHER, skipping pid ${Deno.pid}\n`);
  const usage = await run(["7"], "");
  assertEquals(usage.slice(0, 2), [1, ""]);
  assert(usage[2].startsWith("Usage: pushtosched"));
  assertEquals((await run([], "seven"))[0], 2);
});
