import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { LoadThreads } from "../ffi/load.ts";
import { SCHED_BATCH } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import {
  barrier,
  chance,
  driveOut,
  enterGhost,
  expectInGhost,
  expectOutside,
  fail,
  fork,
  give,
  join,
  leaveGhost,
  type LoadStep,
  loop,
  onlyInGhost,
  run,
  sleep,
  take,
  type ThreadKind,
  threadKind,
  UNTIL_STOPPED,
  yieldCpu,
} from "./load_steps.ts";
import { compileSteps } from "./native_steps.ts";
import { RealLoad, type RealLoadOptions, type RealResult } from "./real_load.ts";

const MS = 1_000_000;

/** A class that any thread may enter and that children inherit stands for the enclave's. */
function options(changes: Partial<RealLoadOptions> = {}): RealLoadOptions {
  return {
    join: (tid) => loadShim().schedSetscheduler(tid, SCHED_BATCH, 0, 0),
    policy: SCHED_BATCH,
    thread_capacity: 64,
    cpu_mask: new Uint8Array(),
    seed: 1,
    timeout_ns: 60_000 * MS,
    ...changes,
  };
}

/** For threads without a caller that does what they ask for. */
const BARE = {
  ...options(),
  is_bound: false,
  hint_table: 0,
  first_sid: 0,
  join_fd: -1,
  join_enclave: -1,
};

function start(steps: readonly LoadStep[], changes: Partial<RealLoadOptions> = {}): RealLoad {
  return new RealLoad(threadKind("root", ...steps), options(changes));
}

function runSteps(...steps: LoadStep[]): Promise<RealResult> {
  return start(steps).finish();
}

Deno.test("a thread enters, its child is inside too, and it leaves", async () => {
  const child = threadKind("child", expectInGhost("a child is inside"));
  const { faults, totals } = await runSteps(
    expectOutside("it begins outside"),
    enterGhost(),
    expectInGhost("it is inside"),
    fork(child, 3),
    join(),
    leaveGhost(),
    expectOutside("it is outside again"),
  );
  assertEquals(faults, []);
  assertEquals([totals.started_count, totals.ended_count], [4, 4]);
});

Deno.test("what is not as expected is told with the thread's name, as on the simulated kernel", async () => {
  const child = threadKind("child", expectInGhost("a child is inside"));
  const parent = threadKind("parent", fork(child), join(), fail("this line is not reached"));
  const { faults } = await runSteps(fork(parent, 2), join());
  assertEquals([...faults].sort(), [
    "parent 0 child: expected that a child is inside",
    "parent 0: expected that this line is not reached",
    "parent 1 child: expected that a child is inside",
    "parent 1: expected that this line is not reached",
  ]);
});

Deno.test("an enclave that refuses a thread is a fault with the errno, and the thread goes on", async () => {
  const load = start([enterGhost(), loop(5, yieldCpu())], { join: () => -1 });
  const { faults, totals } = await load.finish();
  assertEquals(faults, ["root: expected that a thread can enter ghOSt (EPERM)"]);
  assertEquals(totals.yield_count, 5);
});

Deno.test("a thread can enter by a file, without the caller", async () => {
  const path = await Deno.makeTempFile();
  const { openat, close } = loadShim();
  const fd = openat(-100, new TextEncoder().encode(`${path}\0`), 1, 0);
  const asked: number[] = [];
  const self_join = { join_fd: fd, join_enclave: -1 };
  const load = start([enterGhost()], { join: (tid) => asked.push(tid), self_join });
  assertEquals((await load.finish()).faults, []);
  close(fd);
  assertEquals([asked, await Deno.readTextFile(path)], [[], "0"]);
  await Deno.remove(path);
});

Deno.test("a thread that cannot enter by the scx program says why", async () => {
  const { openat, close } = loadShim();
  const fd = openat(-100, new TextEncoder().encode("/dev/null\0"), 1, 0);
  const load = start([enterGhost()], { self_join: { join_fd: fd, join_enclave: 0 } });
  const { faults } = await load.finish();
  close(fd);
  assertEquals(faults.length, 1);
  assertMatch(faults[0], /enter.*(EINVAL|EPERM|EBADF)/);
});

Deno.test("a run uses CPU time, a sleep passes time, loops repeat", async () => {
  const before_ns = performance.now() * 1e6;
  const { totals } = await runSteps(loop(2, loop(3, yieldCpu()), run(5 * MS)), sleep(20 * MS));
  assertEquals(totals.yield_count, 6);
  assert(performance.now() * 1e6 - before_ns >= 30 * MS);
});

Deno.test("children are moved out by their parent, each once, whatever they do", async () => {
  const victim = threadKind(
    "victim",
    enterGhost(),
    loop(UNTIL_STOPPED, run(1000), onlyInGhost(), chance(1, 4, sleep(MS), yieldCpu())),
    fail("a thread that is moved out ends"),
  );
  const { faults, totals } = await runSteps(fork(victim, 30), driveOut("each was moved once"));
  assertEquals(faults, []);
  assertEquals(totals.ended_count, 31);
});

Deno.test("a child that was never inside is missed when the others are moved out", async () => {
  const victim = threadKind("victim", sleep(MS));
  const { faults } = await runSteps(fork(victim), driveOut("each was moved once"));
  assertEquals(faults, ["root: expected that each was moved once"]);
});

function pingPong(pair_count: number, rounds: number): ThreadKind {
  const start = barrier(0, 2 * pair_count);
  const [pings, pongs] = [{ first: 1 }, { first: 1 + pair_count }];
  const ping = threadKind("ping", start, loop(rounds, give(pongs), take(pings)));
  const pong = threadKind("pong", start, loop(rounds, take(pongs), give(pings)));
  return threadKind("root", fork(ping, pair_count), fork(pong, pair_count), join());
}

Deno.test("tokens go back and forth as often as they should", async () => {
  const { faults, totals } = await new RealLoad(pingPong(8, 500), options()).finish();
  assertEquals(faults, []);
  assertEquals(totals.give_count, 8 * 2 * 500);
});

Deno.test("a measurement has rates and latencies of its own time only; a stop ends the loops", async () => {
  const load = new RealLoad(pingPong(2, UNTIL_STOPPED), options());
  await load.advance(20 * MS);
  let figures = await load.measure(50 * MS);
  // On a busy machine it takes a while until they get a CPU.
  for (let turn = 0; turn < 300 && figures.wake_count <= 10; turn++) {
    figures = await load.measure(50 * MS);
  }
  assert(figures.wake_count > 10 && figures.give_count >= figures.wake_count);
  assert(figures.time_ns >= 50 * MS);
  assert(figures.latencies.count > 10);
  const [p50, p99, max] = [50, 99, 100].map((percent) => figures.latencies.percentile(percent));
  assert(p50 > 0 && p50 <= p99 && p99 <= max, `${p50} ${p99} ${max}`);
  load.stop();
  await load.advance(60_000 * MS);
  await load.measure(0);
  assertEquals((await load.measure(0)).latencies.count, 0);
  const { faults, totals } = await load.finish();
  assertEquals([faults, totals.ended_count], [[], 5]);
});

Deno.test("a stop also ends threads that wait for a token that nobody gives, or at a barrier", async () => {
  for (const wait of [take(0), barrier(0, 3), loop(UNTIL_STOPPED, sleep(MS))]) {
    const load = start([fork(threadKind("waiter", wait), 2), join()]);
    assert(await load.advance(20 * MS));
    load.stop();
    assertEquals((await load.finish()).totals.ended_count, 3);
  }
});

Deno.test("threads bound to a CPU stay on it, their children too", () => {
  const child = threadKind("child", run(MS));
  const program = compileSteps(threadKind("root", run(MS), fork(child), join())).program;
  const [first] = [...Deno.readTextFileSync("/proc/self/status").matchAll(/_list:\s*(\d+)/g)];
  const cpu = Number(first[1]);
  const cpu_mask = new Uint8Array(128);
  cpu_mask[cpu >> 3] = 1 << (cpu & 7);
  const threads = new LoadThreads(program, { ...BARE, cpu_mask, is_bound: true });
  threads.start();
  while (threads.next(MS) !== -2);
  assertEquals([0, 1].map((index) => threads.thread(index)?.cpu), [cpu, cpu]);
  assertEquals(threads.thread(2), undefined);
  threads.free();
});

Deno.test("more threads than there is room for are a fault, not a crash", async () => {
  const load = start([fork(threadKind("child", yieldCpu()), 9), join()], { thread_capacity: 4 });
  const { faults, totals } = await load.finish();
  assertEquals(faults, ["root: expected that a thread can be started (ENOSPC)"]);
  assertEquals(totals.ended_count, 4);
});

Deno.test("a load that never ends is reported as stuck, with threads that are left", async () => {
  const load = start([fork(threadKind("sleeper", take(0))), join()], { timeout_ns: 1000 * MS });
  const { faults } = await load.finish();
  assertEquals(faults.length, 1);
  assertStringIncludes(faults[0], "stuck: 2 of 2 threads have not ended after 1 s");
  assertStringIncludes(faults[0], "sleeper (tid ");
  load.stop();
  assertEquals((await load.finish()).faults, []);
});

Deno.test("a load cannot be freed while its threads run", () => {
  const { program } = compileSteps(threadKind("root", take(0)));
  const threads = new LoadThreads(program, BARE);
  threads.start();
  assertThrows(() => threads.free(), Error, "load threads still run");
  threads.stop();
  while (threads.next(MS) !== -2);
  threads.free();
});

Deno.test("an empty load is refused", () => {
  const { program } = compileSteps(threadKind("root"));
  const empty = { ...program, ops: new Float64Array() };
  assertThrows(() => new LoadThreads(empty, BARE), Error, "EINVAL");
});
