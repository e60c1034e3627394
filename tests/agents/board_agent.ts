/**
 * An agent process as its guard sees it, without any agent: it comes under the guard, publishes a
 * board, and does there what its first argument says. For tests of the guard.
 *
 * Arguments: MODE WATCHDOG_MS ON_CRASH FOLDER; FOLDER stands for the enclave, FOLDER/ctl for
 * its control file.
 *
 * @module
 */
import { MAX_CPU_COUNT } from "../../lib/limits.ts";
import { SharedState } from "../../lib/shared_state.ts";
import {
  AgentBoard,
  BoardView,
  PHASE_ACTIVE,
  PHASE_ENDED,
  PHASE_FAILED,
  PHASE_LEAVING,
} from "../../util/guard/board.ts";
import { type CrashAction, NATIVE_GUARD } from "../../util/guard/launch.ts";

const [mode, watchdog_ms, on_crash, folder] = Deno.args;
const CPUS = [0, 1, 5];
const SHAPE = {
  policy: "none",
  layout: { task: {}, cpu: {}, global: { marks: "i32" } },
  task_capacity: 16,
  cpus: CPUS,
} as const;
const BEAT_MS = 10;
const pending = new Int32Array(MAX_CPU_COUNT / 32);

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

const link = NATIVE_GUARD.link();
if (link === undefined) {
  const why = NATIVE_GUARD.become({
    name: "board_agent",
    watchdog_ns: Number(watchdog_ms) * 1e6,
    on_crash: on_crash as CrashAction,
  });
  say(`no guard: ${why}`);
  Deno.exit(1);
}
if (link.mode === "dump") {
  const view = BoardView.open(link.board_fd, "copy");
  say(`end ${link.end?.kind} of ${link.end?.pid}: ${link.end?.reason}`);
  say(`dump of ${view?.facts.path}: ${view?.state.cpu("step_count", CPUS[1])[0]} steps`);
  Deno.exit(0);
}
const old = link.old_fd < 0 ? undefined : BoardView.open(link.old_fd, "view");
if (mode === "early") Deno.exit(4);

const board = new AgentBoard(link.board_fd);
const state = new SharedState(SHAPE, (size_bytes) => board.makeState(size_bytes));
const facts = {
  kernel: "ghost",
  path: folder,
  is_made: true,
  abi_version: 91,
  shape: SHAPE,
};
const alive = old === undefined ? "" : ` after ${old.facts.path}, alive ${old.alive_ns > 0}`;
board.publish(facts, state, [[`${folder}/ctl`, "destroy"]]);
board.phase = PHASE_ACTIVE;
const counts = CPUS.map((cpu) => state.cpu("step_count", cpu));
const actives = CPUS.map((cpu) => state.cpu("step_active", cpu));
counts[1][0] = 41;

function end(status: number, phase: number): void {
  board.phase = phase;
  Deno.exit(status);
}

for (const name of ["SIGINT", "SIGTERM", "SIGURG"] as const) {
  Deno.addSignalListener(name, () => {
    Deno.writeTextFileSync(`${folder}/${name}`, `${Deno.ppid}`);
    say(name);
    if (name === "SIGINT" && mode === "stubborn") return;
    if (name !== "SIGURG") end(0, PHASE_ENDED);
  });
}

/** What happens on the board at each turn. */
const TURNS: Readonly<Record<string, () => void>> = {
  idle: () => board.beat(pending),
  busy: () => {
    counts.forEach((count) => count[0]++);
    actives.forEach((active) => active[0] = 1);
    pending[0] = 7;
    board.beat(pending);
  },
  hung: () => {
    actives[1][0] = 1;
    counts[0][0]++;
    board.beat(pending);
  },
  pending: () => {
    pending[0] = 4;
    counts[1][0]++;
    board.beat(pending);
  },
  stale: () => {
    if (pending[0] === 0) {
      pending[0] = 4;
      board.beat(pending);
    }
  },
  crash: () => Deno.exit(7),
  failed: () => end(3, PHASE_FAILED),
  ended: () => end(5, PHASE_ENDED),
  leaving: () => board.phase = PHASE_LEAVING,
  stubborn: () => board.beat(pending),
};
say(`pid ${Deno.pid}${alive}`);
setInterval(TURNS[mode], BEAT_MS);
