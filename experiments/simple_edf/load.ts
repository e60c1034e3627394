/**
 * simple_edf: loads that tell the agent about their work by the PrioTable: deadlines, and work that
 * comes again in each period. What each does is that of upstream's simple_edf, reference sections
 * 8.10 and 8.14. A thread has its row before it enters ghOSt: upstream's agent never runs a thread
 * of a process with a table that has none.
 *
 * @module
 */
import { WORK_CLASS_ONESHOT, WORK_CLASS_REPEATING } from "../../shared/prio_table.ts";
import type { HintTablePlan } from "../load_hints.ts";
import {
  enterGhost,
  expectInGhost,
  expectOutside,
  fork,
  FORK_NS,
  hint,
  join,
  leaveGhost,
  loop,
  rest,
  run,
  sleep,
  type ThreadKind,
  threadKind,
  yieldCpu,
} from "../load_steps.ts";
import { type SteppedLoad, steppedSubTest } from "../sim_steps.ts";

const MS = 1_000_000;
const MANY_COUNT = 1000;
const REPEAT_COUNT = 10;
const PAUSE_NS = 10 * MS;
const DEADLINE_NS = 100 * MS;
const WORK_NS = 10 * MS;

/** Numbers of the work classes. */
const ONESHOT = 1;
const REPEATING = 2;

/** The table: upstream's sizes; class 0 is for threads without work. */
export const EDF_HINTS: HintTablePlan = {
  item_count: 51_200,
  stream_capacity: 19,
  classes: [
    {},
    { flags: WORK_CLASS_ONESHOT, qos: 1, exectime_ns: WORK_NS },
    { flags: WORK_CLASS_REPEATING, qos: 1, exectime_ns: WORK_NS, period_ns: DEADLINE_NS },
  ],
};

const WORK = run(2_000, 8_001);

/** Work that is due in 100 ms: a sleep, and a yield. */
const SIMPLE = threadKind(
  "simple",
  hint(ONESHOT, DEADLINE_NS),
  enterGhost(),
  sleep(PAUSE_NS),
  WORK,
  yieldCpu(),
  expectInGhost("a thread that entered ghOSt is in it after a sleep"),
);

/** Work that comes again: the thread says when it is done, the agent when there is more. */
const REPEAT = threadKind(
  "repeat",
  hint(REPEATING, DEADLINE_NS),
  enterGhost(),
  loop(REPEAT_COUNT, run(WORK_NS), rest()),
  expectInGhost("a thread with repeating work stays in ghOSt"),
);

const DEPART = threadKind(
  "depart",
  hint(ONESHOT, DEADLINE_NS),
  enterGhost(),
  sleep(PAUSE_NS),
  expectInGhost("a thread that entered ghOSt is in it"),
  leaveGhost(),
  WORK,
  expectOutside("a thread that left ghOSt is in the default class"),
);

function starter(name: string, count: number, thread: ThreadKind): ThreadKind {
  return threadKind(name, fork(thread, count, FORK_NS), join());
}

/**
 * The load.
 *
 * @param spin_threads Threads of BusyExp.
 * @param spin_ns CPU time of each.
 */
export function simpleEdf(spin_threads: number, spin_ns: number): SteppedLoad {
  const spin = threadKind(
    "spin",
    hint(ONESHOT, DEADLINE_NS),
    enterGhost(),
    run(spin_ns),
    expectInGhost("a thread that spins in ghOSt stays in it"),
  );
  return {
    name: "simple_edf",
    summary: "threads that tell an EDF agent their deadlines and when they have work",
    sub_tests: [
      steppedSubTest(starter("SimpleExp", 1, SIMPLE), 1),
      steppedSubTest(starter("SimpleExpMany", MANY_COUNT, SIMPLE), MANY_COUNT),
      steppedSubTest(starter("SimpleRepeatable", 1, REPEAT), 1),
      steppedSubTest(starter("BusyExp", spin_threads, spin), spin_threads),
      steppedSubTest(starter("TaskDeparted", 1, DEPART), 1),
      steppedSubTest(starter("TaskDepartedMany", MANY_COUNT, DEPART), MANY_COUNT),
    ],
  };
}
