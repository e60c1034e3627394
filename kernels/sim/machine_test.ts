import { assert, assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../lib/invariant.ts";
import { type Action, block, run, type Script, SCRIPT_END, sleep, yieldCpu } from "./actions.ts";
import { checkAll } from "./invariants.ts";
import type { SimMachine } from "./machine.ts";
import { SimKernel } from "./sim_kernel.ts";
import { MODE_DEFAULT, MODE_IDLE, SLEEPING } from "./thread.ts";

const MS = 1_000_000;

function machineOf(cpu_count: number, seed = 1): SimMachine {
  return new SimKernel({ cpus: cpu_count, seed }).machine;
}

function* script(...actions: Action[]): Script {
  yield* actions;
}

/** Records which thread had a CPU, in order; idle times are left out. */
function recordSpans(machine: SimMachine): { cpu: number; tid: number; ns: number }[] {
  const spans: { cpu: number; tid: number; ns: number }[] = [];
  machine.trace = {
    span: (cpu, mode, tid, start_ns, end_ns) => {
      if (mode === MODE_DEFAULT) spans.push({ cpu, tid, ns: end_ns - start_ns });
    },
    message: () => {},
    commit: () => {},
  };
  return spans;
}

Deno.test("a thread uses the time it asks for, and the clock stops with it", () => {
  const machine = machineOf(1);
  const thread = machine.spawn(() => script(run(5 * MS), run(2 * MS)), "t");
  machine.runUntil(Infinity);
  assertEquals(thread.runtime_ns, 7 * MS);
  assertEquals(machine.live_count, 0);
  assertEquals(machine.now_ns, 7 * MS + machine.options.costs.default_switch_ns);
  checkAll(machine);
});

Deno.test("a source of actions is a script like a generator, and its end is told once", () => {
  const machine = machineOf(1);
  const actions = [run(5 * MS), sleep(MS), run(2 * MS)];
  let end_count = 0;
  const thread = machine.spawn(
    () => ({ nextAction: () => actions.shift() ?? SCRIPT_END }),
    "t",
  );
  thread.listener = { end: () => end_count++ };
  machine.runUntil(Infinity);
  assertEquals([thread.runtime_ns, machine.live_count, end_count], [7 * MS, 0, 1]);
});

Deno.test("threads of the default class take turns of one time slice", () => {
  const machine = machineOf(1);
  const spans = recordSpans(machine);
  const threads = [0, 1, 2].map(() => machine.spawn(() => script(run(7 * MS)), "t"));
  machine.runUntil(Infinity);
  const slice_ns = machine.options.costs.default_slice_ns;
  const [a, b, c] = threads.map((thread) => thread.tid);
  assertEquals(spans.map((span) => span.tid), [a, b, c, a, b, c, a, b, c]);
  for (const span of spans.slice(0, 6)) assertEquals(span.ns, slice_ns);
  assertEquals(threads.map((thread) => thread.runtime_ns), [7 * MS, 7 * MS, 7 * MS]);
});

Deno.test("a thread that is alone is not interrupted", () => {
  const machine = machineOf(1);
  const spans = recordSpans(machine);
  machine.spawn(() => script(run(50 * MS)), "t");
  machine.runUntil(Infinity);
  assertEquals(spans.length, 1);
});

Deno.test("threads spread over idle CPUs", () => {
  const machine = machineOf(4);
  const threads = Array.from({ length: 4 }, () => machine.spawn(() => script(run(MS)), "t"));
  machine.runUntil(MS / 2);
  assertEquals(new Set(threads.map((thread) => thread.cpu)).size, 4);
  assertEquals(machine.cpus.map((cpu) => cpu.mode), Array(4).fill(MODE_DEFAULT));
});

Deno.test("a sleep ends in time, and a blocked thread waits for a wake-up", () => {
  const machine = machineOf(1);
  const woken_ns: number[] = [];
  const thread = machine.spawn(function* () {
    yield sleep(3 * MS);
    woken_ns.push(machine.now_ns);
    yield block();
    woken_ns.push(machine.now_ns);
  }, "t");
  machine.runUntil(20 * MS);
  assertEquals(thread.state, SLEEPING);
  assertEquals(machine.cpus[0].mode, MODE_IDLE);
  const switch_ns = machine.options.costs.default_switch_ns;
  // Both ends of the sleep pay for a switch to the thread.
  assertEquals(woken_ns, [3 * MS + 2 * switch_ns]);
  machine.wake(thread, 0);
  machine.runUntil(Infinity);
  assertEquals(woken_ns[1], 20 * MS + switch_ns);
  assertEquals(machine.live_count, 0);
});

Deno.test("a wake-up of a thread that is awake does nothing", () => {
  const machine = machineOf(1);
  const thread = machine.spawn(() => script(run(MS)), "t");
  machine.runUntil(MS / 2);
  machine.wake(thread, 0);
  machine.runUntil(Infinity);
  assertEquals(thread.runtime_ns, MS);
  checkAll(machine);
});

Deno.test("the end of a sleep that was cut short wakes nobody", () => {
  const machine = machineOf(1);
  const thread = machine.spawn(() => script(sleep(5 * MS), block(), run(MS)), "t");
  machine.runUntil(MS);
  machine.wake(thread, 0);
  machine.runUntil(20 * MS);
  assertEquals([thread.state, thread.runtime_ns], [SLEEPING, 0]);
});

Deno.test("a time slice that its thread did not use up cuts nobody else's short", () => {
  const machine = machineOf(1);
  const spans = recordSpans(machine);
  const [a, b, c] = [MS, 9 * MS, 9 * MS].map((ns) => machine.spawn(() => script(run(ns)), "t").tid);
  machine.runUntil(6 * MS);
  assertEquals(spans.map((span) => span.tid), [a, b]);
  assertEquals(spans[1].ns, machine.options.costs.default_slice_ns);
  assertEquals(machine.cpus[0].current?.tid, c);
});

Deno.test("a thread has no runtime while the CPU still switches to it", () => {
  const machine = machineOf(1);
  const thread = machine.spawn(() => script(run(MS)), "t");
  machine.runUntil(machine.options.costs.default_switch_ns / 2);
  machine.account(thread);
  assertEquals(thread.runtime_ns, 0);
  machine.exit(thread);
  checkAll(machine);
});

Deno.test("sched_yield lets the other thread run", () => {
  const machine = machineOf(1);
  const spans = recordSpans(machine);
  const twice = () => script(run(1000), yieldCpu(), run(1000));
  const [a, b] = [0, 1].map(() => machine.spawn(twice, "t").tid);
  machine.runUntil(Infinity);
  assertEquals(spans.map((span) => span.tid), [a, b, a, b]);
});

Deno.test("the time of a CPU is accounted to what it did", () => {
  const machine = machineOf(2);
  machine.spawn(() => script(run(4 * MS)), "t");
  machine.runUntil(10 * MS);
  machine.flushSpans();
  for (const cpu of machine.cpus) {
    assertEquals(cpu.mode_ns.reduce((sum, ns) => sum + ns), 10 * MS);
  }
  const busy_ns = machine.cpus.reduce((sum, cpu) => sum + cpu.mode_ns[MODE_DEFAULT], 0);
  assertEquals(busy_ns, 4 * MS + machine.options.costs.default_switch_ns);
});

Deno.test("killing a thread frees its CPU at once, wherever it is", () => {
  const machine = machineOf(1);
  const [running, waiting, sleeping] = [run(9 * MS), run(9 * MS), block()]
    .map((action) => machine.spawn(() => script(action), "t"));
  machine.runUntil(4 * MS);
  machine.exit(sleeping);
  machine.exit(running);
  machine.exit(waiting);
  machine.exit(waiting);
  assertEquals(machine.live_count, 0);
  assertEquals(machine.cpus[0].mode, MODE_IDLE);
  machine.runUntil(Infinity);
  checkAll(machine);
});

Deno.test("calls come at their time, in the order given for the same time", () => {
  const machine = machineOf(1);
  const log: string[] = [];
  const note = (name: string) => () => log.push(`${name} ${machine.now_ns}`);
  machine.at(20, note("b"));
  machine.at(10, note("a"));
  machine.at(20, note("c"));
  machine.runUntil(15);
  assertEquals([log.join(), machine.now_ns], ["a 10", 15]);
  machine.runUntil(Infinity);
  assertEquals(log, ["a 10", "b 20", "c 20"]);
  assertEquals(machine.runOne(), false);
});

Deno.test("while a call takes time the rest of the machine goes on", () => {
  const machine = machineOf(1);
  const log: string[] = [];
  const note = (name: string) => log.push(`${name} ${machine.now_ns}`);
  machine.at(10, () => {
    note("begin");
    machine.advance(100);
    note("end");
  });
  machine.at(50, () => note("meanwhile"));
  machine.at(111, () => note("after"));
  machine.runUntil(Infinity);
  assertEquals(log, ["begin 10", "meanwhile 50", "end 110", "after 111"]);
});

Deno.test("calls within calls nest to a bound, and the clock never goes back", () => {
  const machine = machineOf(1);
  let depth = 0;
  let depth_max = 0;
  let last_ns = 0;
  const look = () => {
    assert(machine.now_ns >= last_ns, `${machine.now_ns} after ${last_ns}`);
    last_ns = machine.now_ns;
  };
  for (let count = 0; count < 30; count++) {
    machine.at(10 * count, () => {
      look();
      depth_max = Math.max(depth_max, ++depth);
      machine.advance(35);
      depth--;
      look();
    });
  }
  machine.runUntil(Infinity);
  // The event itself, and three more within it.
  assertEquals(depth_max, 4);
  assertEquals(machine.events.size, 0);
});

Deno.test("a script that never uses time, or asks for nonsense, is a broken invariant", () => {
  const endless = machineOf(1);
  endless.spawn(function* () {
    for (;;) yield run(0);
  }, "t");
  assertThrows(() => endless.runUntil(Infinity), InvariantError, "never uses time");
  const odd = machineOf(1);
  odd.spawn(() => script(9 * 2 ** 44), "t");
  assertThrows(() => odd.runUntil(Infinity), InvariantError, "script yields");
});

Deno.test("a CPU that is off runs nothing", () => {
  const { machine } = new SimKernel({ cpus: 3, seed: 1, offline_cpus: [1] });
  const threads = Array.from({ length: 6 }, () => machine.spawn(() => script(run(4 * MS)), "t"));
  machine.runUntil(Infinity);
  assertEquals(threads.filter((thread) => thread.cpu === 1), []);
  assertEquals(machine.live_count, 0);
});
