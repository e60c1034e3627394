import { assertEquals } from "@std/assert";
import type { ActionSource } from "../kernels/sim/actions.ts";
import { run as runAction, SCRIPT_END, sleep as sleepAction } from "../kernels/sim/actions.ts";
import { yieldCpu as yieldAction } from "../kernels/sim/actions.ts";
import { Prng } from "../lib/prng.ts";
import type { LoadThread } from "./load.ts";
import {
  chance,
  enterGhost,
  expectInGhost,
  leaveGhost,
  type LoadStep,
  loop,
  onlyInGhost,
  run,
  sleep,
  threadKind,
  UNTIL_STOPPED,
  yieldCpu,
} from "./load_steps.ts";
import { rootScript } from "./sim_steps.ts";

/** The actions of a thread with these steps, and what it asked for between them. */
function play(steps: LoadStep[], options: { stop_after?: number } = {}): (number | string)[] {
  const log: (number | string)[] = [];
  let in_ghost = false;
  const self = {
    prng: new Prng(5),
    inGhost: () => in_ghost,
    enterGhost: () => {
      in_ghost = true;
      log.push("enter");
    },
    leaveGhost: () => {
      in_ghost = false;
      log.push("leave");
    },
    expect: (holds: boolean, what: string) => log.push(`${holds} ${what}`),
    isStopped: () => log.length >= (options.stop_after ?? Infinity),
  } as unknown as LoadThread;
  const source = rootScript(threadKind("test", ...steps))(self) as ActionSource;
  for (let action = source.nextAction(); action !== SCRIPT_END; action = source.nextAction()) {
    log.push(action);
  }
  return log;
}

Deno.test("steps follow each other, loops within loops too", () => {
  const inner = loop(2, yieldCpu());
  assertEquals(play([loop(2, run(1), inner), sleep(7)]), [
    runAction(1),
    yieldAction(),
    yieldAction(),
    runAction(1),
    yieldAction(),
    yieldAction(),
    sleepAction(7),
  ]);
});

Deno.test("a loop of no rounds, and one of no steps, are passed over", () => {
  assertEquals(play([loop(0, run(1)), loop(3), run(2)]), [runAction(2)]);
});

Deno.test("a loop without a count goes on until the load is stopped", () => {
  const log = play([loop(UNTIL_STOPPED, run(1)), sleep(2)], { stop_after: 3 });
  assertEquals(log, [runAction(1), runAction(1), runAction(1), sleepAction(2)]);
});

Deno.test("who is not in ghOSt ends where only those in it go on", () => {
  const steps = [
    enterGhost(),
    expectInGhost("it is"),
    loop(5, run(1), onlyInGhost(), leaveGhost()),
    sleep(9),
  ];
  assertEquals(play(steps), ["enter", "true it is", runAction(1), "leave", runAction(1)]);
});

Deno.test("a chance goes both ways and then on to the same step", () => {
  const log = play([loop(50, chance(1, 2, run(1), sleep(2)), yieldCpu())]);
  const kinds = log.filter((_, index) => index % 2 === 0);
  assertEquals(new Set(kinds), new Set([runAction(1), sleepAction(2)]));
  assertEquals(new Set(log.filter((_, index) => index % 2 === 1)), new Set([yieldAction()]));
  assertEquals(log.length, 100);
});

Deno.test("threads of one kind are at their own places in it", () => {
  const kind = threadKind("test", loop(2, run(1)), sleep(2));
  const sources = [0, 1].map(() => rootScript(kind)({} as LoadThread) as ActionSource);
  const next = (index: number): number => sources[index].nextAction();
  assertEquals([next(0), next(0), next(1), next(0), next(1)], [
    runAction(1),
    runAction(1),
    runAction(1),
    sleepAction(2),
    runAction(1),
  ]);
});
