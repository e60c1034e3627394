/**
 * simple_exp: six small sub-tests that any policy must survive. Threads enter ghOSt, sleep, fork,
 * compete, and leave ghOSt again, by themselves and from outside while they run.
 *
 * What each does is that of upstream's simple_exp, reference section 8.14. Upstream's threads print
 * and spin for as long as that takes; here such work is a random time from the load's seed.
 *
 * @module
 */
import {
  chance,
  driveOut,
  enterGhost,
  expectInGhost,
  expectOutside,
  fail,
  fork,
  FORK_NS,
  join,
  leaveGhost,
  type LoadStep,
  loop,
  onlyInGhost,
  run,
  sleep,
  type ThreadKind,
  threadKind,
  yieldCpu,
} from "../load_steps.ts";
import { type SteppedLoad, type SteppedSubTest, steppedSubTest } from "../sim_steps.ts";

/** How long the threads of SimpleExp sleep, and those of BusyExp spin. */
const PAUSE_NS = 10_000_000;
/** How long a thread that is to be moved out sleeps now and then. */
const NAP_NS = 1_000_000;
const MANY_COUNT = 1000;
const BUSY_COUNT = 100;
/** Rounds after which a thread that was to be moved out gives up. */
const RACE_ROUNDS_MAX = 100_000;

/** A little work: 2 to 10 us. */
const WORK: LoadStep = run(2_000, 8_001);

const CHILD = threadKind(
  "child",
  WORK,
  expectInGhost("a child forked in ghOSt is in ghOSt"),
);

/** In ghOSt: work, sleep, fork a child that must be in ghOSt too, and wait for it. */
const NAP = threadKind(
  "nap",
  WORK,
  enterGhost(),
  WORK,
  sleep(PAUSE_NS),
  expectInGhost("a thread that entered ghOSt is in it after a sleep"),
  fork(CHILD),
  join(),
  WORK,
);

/** In ghOSt: use the CPU without a pause. */
const SPIN = threadKind(
  "spin",
  WORK,
  enterGhost(),
  run(PAUSE_NS),
  expectInGhost("a thread that spins in ghOSt stays in it"),
);

/** Into ghOSt, and out again after a sleep. */
const DEPART = threadKind(
  "depart",
  WORK,
  enterGhost(),
  WORK,
  sleep(PAUSE_NS),
  expectInGhost("a thread that entered ghOSt is in it"),
  leaveGhost(),
  WORK,
  expectOutside("a thread that left ghOSt is in the default class"),
);

/** In ghOSt until another thread moves this one out: while it runs, waits, or sleeps. */
const RACE = threadKind(
  "race",
  WORK,
  enterGhost(),
  loop(RACE_ROUNDS_MAX, WORK, onlyInGhost(), chance(1, 4, sleep(NAP_NS), yieldCpu())),
  fail("a thread that is moved out while it runs leaves ghOSt"),
);

/** Starts `count` threads and waits for them. */
function starter(name: string, count: number, thread: ThreadKind): ThreadKind {
  return threadKind(name, fork(thread, count, FORK_NS), join());
}

const SUB_TESTS: readonly SteppedSubTest[] = [
  steppedSubTest(starter("SimpleExp", 1, NAP), 2),
  steppedSubTest(starter("SimpleExpMany", MANY_COUNT, NAP), 2 * MANY_COUNT),
  steppedSubTest(starter("BusyExp", BUSY_COUNT, SPIN), BUSY_COUNT),
  steppedSubTest(starter("TaskDeparted", 1, DEPART), 1),
  steppedSubTest(starter("TaskDepartedMany", MANY_COUNT, DEPART), MANY_COUNT),
  steppedSubTest(
    threadKind(
      "TaskDepartedManyRace",
      fork(RACE, MANY_COUNT, FORK_NS),
      driveOut("every thread was moved out of ghOSt once"),
    ),
    MANY_COUNT,
  ),
];

/** The load. */
export const SIMPLE_EXP: SteppedLoad = {
  name: "simple_exp",
  summary: "threads that enter ghOSt, sleep, fork, spin, and leave ghOSt again",
  sub_tests: SUB_TESTS,
};
