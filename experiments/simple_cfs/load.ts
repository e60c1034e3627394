/**
 * simple_cfs: loads that show how fair an agent is: threads of different nice values that share a
 * CPU, and threads that are bound to one CPU and let go again. What each does is that of
 * upstream's simple_cfs, reference section 8.14; as there, the figures are for the reader, and no
 * figure fails.
 *
 * @module
 */
import {
  barrier,
  bind,
  enterGhost,
  fork,
  FORK_NS,
  join,
  nice,
  type ThreadKind,
  threadKind,
  work,
} from "../load_steps.ts";
import type { StageRow } from "../load.ts";
import { type SteppedLoad, type SteppedSubTest, steppedSubTest } from "../sim_steps.ts";

const START_WORD = 0;
const BALANCE_COUNT = 10;
const SECOND_NS = 1_000_000_000;

/** Nice values of the second stage, and the weights that CFS gives them (and 0). */
const NICE_VALUES: readonly number[] = [19, -20, 0];
const NICE_WEIGHTS: readonly number[] = [15, 88_761, 1024];

/** Threads of nice 0 on one CPU, and then of different nice values. */
function niceThread(value: number, stage_ns: number): ThreadKind {
  return threadKind(
    `nice ${value}`,
    enterGhost(),
    bind(0),
    barrier(START_WORD, NICE_VALUES.length),
    work(stage_ns, 0),
    nice(value),
    work(stage_ns, 1),
    nice(0),
  );
}

function percent(part: number, all: number): string {
  return `${(100 * part / all).toFixed(2)} %`.padStart(9);
}

function niceReport(stages: readonly StageRow[]): string[] {
  const lines = ["  nice  estimated   expected"];
  for (const stage of [0, 1]) {
    const rows = stages.filter((row) => row.stage === stage);
    const all_ns = rows.reduce((sum, { cpu_ns }) => sum + cpu_ns, 0);
    const weights = stage === 0 ? NICE_VALUES.map(() => 1) : NICE_WEIGHTS;
    const all_weights = weights.reduce((sum, weight) => sum + weight, 0);
    NICE_VALUES.forEach((value, index) => {
      const row = rows.find(({ thread }) => thread === `nice ${value}`);
      const own = String(stage === 0 ? 0 : value).padStart(6);
      const estimated = percent(row?.cpu_ns ?? 0, all_ns);
      lines.push(`${own}  ${estimated}  ${percent(weights[index], all_weights)}`);
    });
  }
  return lines;
}

function niceTest(stage_ns: number): SteppedSubTest {
  const forks = NICE_VALUES.map((value) => fork(niceThread(value, stage_ns), 1, FORK_NS));
  const root = threadKind("SimpleNice", ...forks, join());
  return { ...steppedSubTest(root, NICE_VALUES.length), report: niceReport };
}

/** Heads of the stages of {@linkcode balanceTest}. */
const BALANCE_HEADS: readonly string[] = ["first", "second", "third", "fourth", "final"];

function balanceReport(stages: readonly StageRow[]): string[] {
  const cpus = [...new Set(stages.map(({ cpu }) => cpu))].sort((a, b) => a - b);
  const line = (cells: readonly (string | number)[]): string =>
    cells.map((cell) => String(cell).padStart(7)).join("");
  return [
    line(["cpu", ...BALANCE_HEADS]),
    ...cpus.map((cpu) =>
      line([
        cpu,
        ...BALANCE_HEADS.map((_, stage) =>
          stages.filter((row) => row.stage === stage && row.cpu === cpu).length
        ),
      ])
    ),
  ];
}

/** Threads that may use every CPU, then one only, then every one again. */
function balanceTest(stage_ns: number): SteppedSubTest {
  const thread = threadKind(
    "balance",
    enterGhost(),
    barrier(START_WORD, BALANCE_COUNT),
    work(stage_ns, 0),
    bind(0),
    work(stage_ns, 1),
    work(stage_ns, 2),
    bind(-1),
    work(stage_ns, 3),
    work(stage_ns, 4),
  );
  const root = threadKind("SimpleLoadBalancing", fork(thread, BALANCE_COUNT, FORK_NS), join());
  return { ...steppedSubTest(root, BALANCE_COUNT), report: balanceReport };
}

/**
 * The load.
 *
 * @param nice_ns Length of the two stages of SimpleNice.
 */
export function simpleCfs(nice_ns: number): SteppedLoad {
  return {
    name: "simple_cfs",
    summary: "shares of threads of different nice values, and how threads spread over CPUs",
    sub_tests: [niceTest(nice_ns), balanceTest(Math.min(nice_ns, SECOND_NS))],
  };
}
