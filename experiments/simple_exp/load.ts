/**
 * simple_exp: six small sub-tests that any policy must survive. Threads enter ghOSt, sleep, fork,
 * compete, and leave ghOSt again, by themselves and from outside while they run.
 *
 * What each does is that of upstream's simple_exp, reference section 8.14. Upstream's threads print
 * and spin for as long as that takes; here such work is a random time from the load's seed.
 *
 * @module
 */
import { run, type Script, sleep, yieldCpu } from "../../kernels/sim/actions.ts";
import type { Load, LoadScript, LoadThread, SubTest } from "../load.ts";

/** How long the threads of SimpleExp sleep, and those of BusyExp spin. */
const PAUSE_NS = 10_000_000;
/** What starting a thread costs the thread that starts it: about a pthread_create. */
const START_NS = 15_000;
/** What moving another thread to another class costs the caller. */
const MOVE_NS = 2_000;
/** How long a thread that is to be moved out sleeps now and then. */
const NAP_NS = 1_000_000;
const MANY_COUNT = 1000;
const BUSY_COUNT = 100;
/** Rounds after which a thread that was to be moved out gives up. */
const RACE_ROUNDS_MAX = 100_000;

/** A little work: 2 to 10 us. */
function work(self: LoadThread): number {
  return run(2_000 + self.prng.below(8_001));
}

/** In ghOSt: work, sleep, fork a child that must be in ghOSt too, and wait for it. */
function* napAndFork(self: LoadThread, name: string): Script {
  yield work(self);
  self.enterGhost();
  yield work(self);
  yield sleep(PAUSE_NS);
  self.expect(self.inGhost(), "a thread that entered ghOSt is in it after a sleep");
  self.fork(`${name} child`, function* (child) {
    yield work(child);
    child.expect(child.inGhost(), "a child forked in ghOSt is in ghOSt");
  });
  yield* self.join();
  yield work(self);
}

/** In ghOSt: use the CPU without a pause. */
function* spin(self: LoadThread): Script {
  yield work(self);
  self.enterGhost();
  yield run(PAUSE_NS);
  self.expect(self.inGhost(), "a thread that spins in ghOSt stays in it");
}

/** Into ghOSt, and out again after a sleep. */
function* depart(self: LoadThread): Script {
  yield work(self);
  self.enterGhost();
  yield work(self);
  yield sleep(PAUSE_NS);
  self.expect(self.inGhost(), "a thread that entered ghOSt is in it");
  self.leaveGhost();
  yield work(self);
  self.expect(!self.inGhost(), "a thread that left ghOSt is in the default class");
}

/** In ghOSt until another thread moves this one out: while it runs, waits, or sleeps. */
function* spinUntilMoved(self: LoadThread): Script {
  yield work(self);
  self.enterGhost();
  for (let round = 0; round < RACE_ROUNDS_MAX; round++) {
    yield work(self);
    if (!self.inGhost()) return;
    yield self.prng.chance(1, 4) ? sleep(NAP_NS) : yieldCpu();
  }
  self.expect(false, "a thread that is moved out while it runs leaves ghOSt");
}

/** A thread that starts `count` others and waits for them. */
function starter(
  count: number,
  name: string,
  script: (self: LoadThread, name: string) => Script,
): LoadScript {
  return function* (self) {
    for (let index = 0; index < count; index++) {
      yield run(START_NS);
      const own_name = count === 1 ? name : `${name} ${index}`;
      self.fork(own_name, (thread) => script(thread, own_name));
    }
    yield* self.join();
  };
}

/** Starts many threads, and moves each out of ghOSt whatever it is doing then. */
function* race(self: LoadThread): Script {
  const threads: LoadThread[] = [];
  for (let index = 0; index < MANY_COUNT; index++) {
    yield run(START_NS);
    threads.push(self.fork(`race ${index}`, spinUntilMoved));
  }
  let moved_count = 0;
  // Who has not had a CPU yet has not entered ghOSt: those are found in a later round.
  for (let left = threads; left.length > 0; left = left.filter((thread) => !thread.hasEnded())) {
    for (const thread of left) {
      if (!thread.inGhost()) continue;
      yield run(MOVE_NS);
      thread.leaveGhost();
      moved_count++;
    }
    yield sleep(START_NS);
  }
  self.expect(moved_count === MANY_COUNT, "every thread was moved out of ghOSt once");
}

const SUB_TESTS: readonly SubTest[] = [
  { name: "SimpleExp", thread_count: 2, main: starter(1, "nap", napAndFork) },
  {
    name: "SimpleExpMany",
    thread_count: 2 * MANY_COUNT,
    main: starter(MANY_COUNT, "nap", napAndFork),
  },
  { name: "BusyExp", thread_count: BUSY_COUNT, main: starter(BUSY_COUNT, "spin", spin) },
  { name: "TaskDeparted", thread_count: 1, main: starter(1, "depart", depart) },
  {
    name: "TaskDepartedMany",
    thread_count: MANY_COUNT,
    main: starter(MANY_COUNT, "depart", depart),
  },
  { name: "TaskDepartedManyRace", thread_count: MANY_COUNT, main: race },
];

/** The load. */
export const SIMPLE_EXP: Load = {
  name: "simple_exp",
  summary: "threads that enter ghOSt, sleep, fork, spin, and leave ghOSt again",
  sub_tests: SUB_TESTS,
};
