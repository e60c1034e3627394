/** Upstream's edf_test, reference section 8.10, and what else the policy promises; on sim. */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { run, type Script, sleep, yieldCpu } from "../../kernels/sim/actions.ts";
import type { SimThread } from "../../kernels/sim/thread.ts";
import { DUMP_ALL_TASKS } from "../../lib/policy.ts";
import { SimHints } from "../../experiments/shinjuku/sim_hints.ts";
import {
  SCHED_ITEM_RUNNABLE,
  WORK_CLASS_ONESHOT,
  WORK_CLASS_REPEATING,
} from "../../shared/prio_table.ts";
import { NO_HINTS } from "../../shared/hint_source.ts";
import { SimStage } from "../../tests/fakes/sim_stage.ts";
import { edf } from "./scheduler.ts";

const MS = 1_000_000;
/** A look of a thread that waits for work. */
const SPIN_NS = 2_000;
/** As in edf_test: idle, one-shot, repeating; then classes of other QoS and known run times. */
const ONESHOT_ID = 1;
const REPEATING_ID = 2;
const URGENT_ID = 3;
const LONG_ID = 4;
const CLASSES = [
  { qos: 0 },
  { flags: WORK_CLASS_ONESHOT, qos: 1, exectime_ns: 10 * MS },
  { flags: WORK_CLASS_REPEATING, qos: 1, exectime_ns: 10 * MS, period_ns: 100 * MS },
  { flags: WORK_CLASS_ONESHOT, qos: 2, exectime_ns: 10 * MS },
  { flags: WORK_CLASS_ONESHOT, qos: 1, exectime_ns: 40 * MS },
];

/** The machine of edf_test: global CPU 1, a table of 2000 rows, three classes, stream 19. */
class EdfStage extends SimStage {
  readonly hints: SimHints;
  #count = 0;

  constructor(cpu_count: number) {
    let hints: SimHints | undefined;
    super(cpu_count, (kernel) => {
      hints = new SimHints(kernel.memory, 2000, CLASSES, 19);
      return edf({ global_cpu: 1, ticks: false, hints });
    });
    this.hints = hints as SimHints;
  }

  /** A thread with a row; `body` gets the number of the row. */
  add(
    name: string,
    wcid: number,
    deadline_ns: number,
    body: (sid: number) => Script,
    flags = SCHED_ITEM_RUNNABLE,
  ): number {
    const sid = this.#count++;
    const thread: SimThread = this.machine.spawn(() => body(sid), name);
    this.hints.addThread(sid, thread, { wcid, deadline_ns, flags });
    this.enclave.join(thread.tid);
    return sid;
  }

  /** Waits for work, as an application's thread does: spinning. */
  *wait(sid: number): Script {
    while (this.hints.client.isIdle(sid)) yield run(SPIN_NS);
  }
}

function* work(time_ns: number): Script {
  yield run(time_ns);
}

function* simple(): Script {
  yield sleep(10 * MS);
  yield yieldCpu();
}

Deno.test("edf_test Simple: a thread with a deadline sleeps, yields and ends", () => {
  const stage = new EdfStage(2);
  stage.add("simple", ONESHOT_ID, 100 * MS, simple);
  stage.pass(20 * MS);
  assert(stage.isOver());
});

Deno.test("edf_test SimpleAgain: a second thread finds the agent as the first one left it", () => {
  const stage = new EdfStage(2);
  for (const name of ["first", "second"]) {
    stage.add(name, ONESHOT_ID, 100 * MS, simple);
    stage.pass(20 * MS);
    assert(stage.isOver(), name);
  }
});

Deno.test("edf_test SimpleMany: 1000 threads are idle, get work, and do it", () => {
  const stage = new EdfStage(4);
  let done_count = 0;
  for (let index = 0; index < 1000; index++) {
    stage.add(`many ${index}`, ONESHOT_ID, 100 * MS, function* (sid) {
      yield* stage.wait(sid);
      yield run(20_000);
      done_count++;
    }, 0);
  }
  stage.pass(20 * MS);
  // All have been told to wait, and none burns a CPU for it.
  const before_ns = stage.machine.threads.reduce((sum, thread) => sum + thread.runtime_ns, 0);
  stage.pass(10 * MS);
  const waiting_ns = stage.machine.threads.reduce((sum, thread) => sum + thread.runtime_ns, 0);
  assertEquals([done_count, waiting_ns - before_ns], [0, 0]);
  for (let sid = 0; sid < 1000; sid++) stage.hints.setRunnable(sid, true);
  stage.pass(100 * MS);
  assertEquals(done_count, 1000);
  assert(stage.isOver());
});

Deno.test("edf_test SimpleRepeatable: the agent gives a repeating thread its next turn", () => {
  const stage = new EdfStage(2);
  let turns = 0;
  stage.add("repeating", REPEATING_ID, 0, function* (sid) {
    for (; turns < 10; turns++) {
      yield* stage.wait(sid);
      yield run(10 * MS);
      stage.hints.setRunnable(sid, false);
    }
  });
  stage.pass(120 * MS);
  assertEquals(turns, 10);
});

Deno.test("edf_test BusyRunFor: 100 threads of 10 ms share the CPUs without a gap", () => {
  const stage = new EdfStage(5);
  for (let index = 0; index < 100; index++) {
    stage.add(`busy ${index}`, ONESHOT_ID, 100 * MS, () => work(10 * MS));
  }
  stage.pass(255 * MS);
  assert(stage.isOver());
});

Deno.test("edf: who must start first goes first: deadline less estimated run time", () => {
  const stage = new EdfStage(2);
  stage.add("first of all", ONESHOT_ID, MS, () => work(5 * MS));
  stage.pass(MS);
  stage.add("late", ONESHOT_ID, 300 * MS, () => work(5 * MS));
  stage.add("soon", ONESHOT_ID, 100 * MS, () => work(5 * MS));
  // Later than "soon" by 20 ms, but there are 30 ms more to do.
  stage.add("long", LONG_ID, 120 * MS, () => work(5 * MS));
  stage.pass(100 * MS);
  assertEquals(stage.order(), ["first of all", "long", "soon", "late"]);
});

Deno.test("edf: what a class took counts for its next thread", () => {
  const stage = new EdfStage(2);
  // Said to take 40 ms, these take 1 ms: after them the estimate is below 10 ms.
  for (let index = 0; index < 20; index++) {
    stage.add(`learn ${index}`, LONG_ID, 100 * MS, function* (sid) {
      yield run(MS);
      stage.hints.setRunnable(sid, false);
      yield* stage.wait(sid);
    });
  }
  stage.pass(50 * MS);
  for (let sid = 0; sid < 20; sid++) stage.hints.setRunnable(sid, true);
  stage.pass(10 * MS);
  assert(stage.isOver());
  stage.runs.length = 0;
  stage.add("first of all", ONESHOT_ID, MS, () => work(5 * MS));
  stage.pass(MS);
  stage.add("long", LONG_ID, 520 * MS, () => work(MS));
  stage.add("soon", ONESHOT_ID, 500 * MS, () => work(MS));
  stage.pass(50 * MS);
  assertEquals(stage.order(), ["first of all", "soon", "long"]);
});

Deno.test("edf: only a higher QoS takes the CPU from a running thread, no deadline does", () => {
  const stage = new EdfStage(2);
  stage.add("running", ONESHOT_ID, 900 * MS, () => work(10 * MS));
  stage.pass(MS);
  stage.add("earlier", ONESHOT_ID, 20 * MS, () => work(MS));
  stage.pass(MS);
  assertEquals(stage.order(), ["running"].slice(0, stage.order().length));
  stage.add("urgent", URGENT_ID, 900 * MS, () => work(MS));
  stage.pass(100 * MS);
  const names = stage.runs.map(([name]) => name);
  assertLess(names.indexOf("urgent"), names.lastIndexOf("running"));
  assertGreater(names.indexOf("earlier"), names.indexOf("urgent"));
  assert(stage.isOver());
});

Deno.test("edf: a thread that is told to wait while it runs loses its CPU", () => {
  const stage = new EdfStage(2);
  const sid = stage.add("waits", ONESHOT_ID, 100 * MS, () => work(10 * MS));
  stage.pass(2 * MS);
  stage.happen(() => stage.hints.setRunnable(sid, false));
  stage.pass(50 * MS);
  const [thread] = stage.machine.threads;
  assertLess(thread.runtime_ns, 3 * MS);
  assert(stage.host.dump(DUMP_ALL_TASKS).includes("Paused"));
  stage.hints.setRunnable(sid, true);
  stage.pass(20 * MS);
  assert(stage.isOver());
});

Deno.test("edf: a work class out of range changes nothing and is counted", () => {
  const stage = new EdfStage(2);
  const sid = stage.add("runs", ONESHOT_ID, 100 * MS, () => work(10 * MS));
  stage.pass(MS);
  const [table] = stage.hints.tables;
  const { table: client } = stage.hints.client;
  const item = { sid, wcid: 99, gtid_lo: 0, gtid_hi: 0, flags: 0, seqcount: 0, deadline_ns: 0 };
  item.gtid_lo = stage.machine.threads[0].gtid_lo;
  item.gtid_hi = stage.machine.threads[0].gtid_hi;
  stage.happen(() => {
    client.writeItem(sid, item);
    client.markUpdatedIndex(sid, 3);
  });
  stage.pass(20 * MS);
  assert(stage.isOver());
  assertEquals(table.counters.bad_class_count, 1);
});

Deno.test("edf: threads of a process without a table are simply scheduled", () => {
  const stage = new SimStage(3, () => edf({ global_cpu: 1, ticks: true, hints: NO_HINTS }));
  for (let index = 0; index < 20; index++) stage.ghost(`plain ${index}`, () => work(MS));
  stage.pass(15 * MS);
  assert(stage.isOver());
  assertEquals(stage.enclave.readTunable("deliver_ticks"), 1);
});
