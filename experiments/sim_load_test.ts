import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { block, run, type Script, sleep } from "../kernels/sim/actions.ts";
import type { SimEnclave } from "../kernels/sim/enclave.ts";
import { MODE_IDLE } from "../kernels/sim/thread.ts";
import { SimPolicyHost } from "../kernels/sim/host.ts";
import { SimKernel } from "../kernels/sim/sim_kernel.ts";
import { InvariantError } from "../lib/invariant.ts";
import { FIFO_PER_CPU } from "../schedulers/fifo/per_cpu/scheduler.ts";
import type { LoadScript, LoadThread, SubTest } from "./load.ts";
import { SimLoadRun } from "./sim_load.ts";

interface Bench {
  readonly kernel: SimKernel;
  readonly enclave: SimEnclave;
  readonly run: SimLoadRun;
}

function benchOf(sub_tests: readonly SubTest[], cpu_count = 2): Bench {
  const kernel = new SimKernel({ cpus: cpu_count, seed: 1, status_word_capacity: 1024 });
  const cpus = Array.from({ length: cpu_count }, (_, cpu) => cpu);
  const enclave = kernel.createEnclave(cpus, kernel.abi.version) as SimEnclave;
  new SimPolicyHost(kernel, enclave, FIFO_PER_CPU, { task_capacity: 512, queue_elem_count: 1024 });
  const load = { name: "test", summary: "", sub_tests };
  return { kernel, enclave, run: new SimLoadRun(kernel.machine, enclave, load, 1) };
}

function runAll(bench: Bench): void {
  while (bench.run.advance(1000));
}

function subTest(name: string, thread_count: number, main: LoadScript): SubTest {
  return { name, thread_count, main };
}

/** A sub-test with one thread beside the one that starts it. */
function single(script: LoadScript): SubTest {
  return subTest("single", 1, function* (self) {
    self.fork("only", script);
    yield* self.join();
  });
}

Deno.test("sub-tests run one after the other, each with its own figures", () => {
  const bench = benchOf([
    single(function* (self) {
      self.enterGhost();
      yield run(100_000);
      yield sleep(1_000_000);
      yield run(100_000);
    }),
    single(function* () {
      yield run(50_000);
    }),
  ]);
  runAll(bench);
  const [first, second] = bench.run.results;
  assertEquals(bench.run.results.length, 2);
  assertEquals([first.faults, second.faults], [[], []]);
  assertEquals([first.thread_count, second.thread_count], [1, 1]);
  assertEquals(first.wake_count, 2); // into ghOSt, and after the sleep
  assertEquals(second.wake_count, 0);
  assertEquals(second.wake_p50_ns, NaN);
  // A third one: the starting thread wakes at the end, and takes the CPU for an instant.
  assertEquals(first.commit_count, 3);
  assertEquals(second.commit_count, 0);
  assert(first.time_ns > 1_200_000 && first.time_ns < 1_250_000, `${first.time_ns}`);
  // Between them agents handle the last messages, which count for neither.
  assertEquals(second.start_ns, first.start_ns + first.time_ns + 500_000);
  assert(second.time_ns < 60_000, `${second.time_ns}`);
});

Deno.test("wake-to-run is the cost of message, step and commit where the CPU is free", () => {
  const bench = benchOf([single(function* (self) {
    self.enterGhost();
    yield run(1_000);
    yield sleep(1_000_000);
    yield run(1_000);
  })]);
  runAll(bench);
  const { message_local_ns, local_schedule_ns } = bench.kernel.machine.options.costs;
  // SOSP'21 Table 3: 725 ns until the woken agent decides, 888 ns until the thread runs.
  assertEquals(bench.run.results[0].wake_p50_ns, message_local_ns + local_schedule_ns);
});

Deno.test("a fork starts in its parent's class", () => {
  const seen: boolean[] = [];
  const child: LoadScript = function* (self) {
    yield run(1_000);
    seen.push(self.inGhost());
  };
  const bench = benchOf([subTest("forks", 3, function* (self) {
    self.fork("in the default class", child);
    self.fork("parent", function* (parent) {
      parent.enterGhost();
      yield run(1_000);
      parent.fork("in ghOSt", child);
      yield* parent.join();
    });
    yield* self.join();
  })]);
  runAll(bench);
  assertEquals(seen.sort(), [false, true]);
  assertEquals(bench.run.results[0].faults, []);
});

Deno.test("join waits for the last child, also if it ended before the call", () => {
  const order: string[] = [];
  const bench = benchOf([subTest("join", 2, function* (self) {
    for (const ns of [1_000, 500_000]) {
      self.fork("child", function* () {
        yield run(ns);
        order.push("child");
      });
    }
    yield sleep(100_000);
    yield* self.join();
    order.push("joined");
  })]);
  runAll(bench);
  assertEquals(order, ["child", "child", "joined"]);
});

Deno.test("a thread can be moved out of ghOSt by another one, running or asleep", () => {
  const classes: boolean[] = [];
  const victim = (ns: number): LoadScript =>
    function* (self): Script {
      self.enterGhost();
      yield run(ns);
      yield sleep(400_000);
      yield run(1_000);
      classes.push(self.inGhost());
    };
  const bench = benchOf([subTest("move", 2, function* (self) {
    const victims: LoadThread[] = [1_000, 300_000].map((ns) => self.fork("v", victim(ns)));
    yield sleep(200_000);
    for (const thread of victims) thread.leaveGhost();
    yield* self.join();
  })]);
  runAll(bench);
  assertEquals(classes, [false, false]);
  assertEquals(bench.enclave.tasks.size, 0);
});

Deno.test("a broken expectation is kept with the thread's name, three at most, and the run goes on", () => {
  const bench = benchOf([
    single(function* (self) {
      yield run(1_000);
      for (let count = 0; count < 5; count++) self.expect(count < 0, `count ${count} is below 0`);
    }),
    single(function* () {
      yield run(1_000);
    }),
  ]);
  runAll(bench);
  const [first, second] = bench.run.results;
  assertEquals(first.faults.length, 3);
  assertEquals(first.faults[0], "only: expected that count 0 is below 0");
  assertEquals(second.faults, []);
});

Deno.test("a sub-test with fewer threads than it says is at fault", () => {
  const bench = benchOf([subTest("few", 2, function* () {
    yield run(1_000);
  })]);
  runAll(bench);
  assertStringIncludes(bench.run.results[0].faults[0], "expected 2 threads, 0 ran to their end");
});

Deno.test("a sub-test whose threads never end is told, not waited for", () => {
  const blocked = benchOf([single(function* () {
    yield block();
  })]);
  assertThrows(
    () => runAll(blocked),
    InvariantError,
    "single is stuck: 2 of its threads never end",
  );
  const endless = benchOf([single(function* () {
    for (;;) yield sleep(1_000_000_000);
  })]);
  assertThrows(() => runAll(endless), InvariantError, "never end");
});

Deno.test("entering a destroyed enclave is a broken expectation, and the thread runs on", () => {
  const bench = benchOf([single(function* (self) {
    self.enterGhost();
    yield run(1_000);
  })]);
  bench.enclave.destroy();
  runAll(bench);
  assertStringIncludes(bench.run.results[0].faults[0], "a thread can enter ghOSt (errno 18)");
  assertEquals(bench.run.results[0].thread_count, 1);
});

Deno.test("a run that is stopped keeps the figures of the sub-test under way", () => {
  const bench = benchOf([
    single(function* () {
      for (let round = 0; round < 1000; round++) yield sleep(1_000);
    }),
    single(function* () {
      yield run(1);
    }),
  ]);
  assert(bench.run.advance(50));
  const { ended_count, thread_count } = bench.run.progress();
  assertEquals([ended_count, thread_count], [0, 1]);
  bench.run.stop();
  assertEquals(bench.run.results.map((result) => result.is_complete), [false]);
});

Deno.test("after endEarly the sub-test under way is the last", () => {
  const quick = single(function* () {
    yield run(1_000);
  });
  const bench = benchOf([quick, quick, quick]);
  bench.run.advance(2);
  bench.run.endEarly();
  runAll(bench);
  assertEquals(bench.run.results.map((result) => result.is_complete), [true]);
});

Deno.test("an observer that the machine had before still sees everything", () => {
  const kernel = new SimKernel({ cpus: 1, seed: 1, status_word_capacity: 64 });
  const enclave = kernel.createEnclave([0], kernel.abi.version) as SimEnclave;
  new SimPolicyHost(kernel, enclave, FIFO_PER_CPU, { task_capacity: 16, queue_elem_count: 64 });
  const busy_ends_ns: number[] = [];
  const seen = { messages: 0, commits: 0 };
  kernel.machine.trace = {
    span: (_cpu, mode, _tid, _start_ns, end_ns) => {
      if (mode !== MODE_IDLE) busy_ends_ns.push(end_ns);
    },
    message: () => void seen.messages++,
    commit: () => void seen.commits++,
  };
  const sub_tests = [single(function* (self) {
    self.enterGhost();
    yield run(1_000);
    yield sleep(1_000_000);
  })];
  const load_run = new SimLoadRun(kernel.machine, enclave, { name: "", summary: "", sub_tests }, 1);
  while (load_run.advance(100));
  const [{ switch_count, commit_count, time_ns }] = load_run.results;
  // Idle times are not switches.
  assertEquals(switch_count, busy_ends_ns.filter((end_ns) => end_ns <= time_ns).length);
  assertEquals(seen.commits, commit_count);
  // NEW, BLOCKED, WAKEUP, PREEMPT (by the starting thread, which wakes), DEAD
  assertEquals(seen.messages, 5);
});
