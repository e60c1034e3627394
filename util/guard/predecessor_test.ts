/**
 * The board of another process: found by its enclave's path, read while that process lives and
 * after it was killed.
 */
import { assert, assertEquals } from "@std/assert";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { TaskTable } from "../../lib/task_table.ts";
import { SharedState, type SharedStateShape } from "../../lib/shared_state.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { startProgram } from "../../tests/process.ts";
import { AgentBoard, BoardView, PHASE_ACTIVE } from "./board.ts";
import { findPredecessor, keptBy, upgradeGap } from "./predecessor.ts";
import { postMortem } from "./post_mortem.ts";

const CPUS = [0, 2];
const SHAPE: SharedStateShape = {
  policy: "keeper",
  layout: {
    task: { weight: "i32" },
    cpu: {},
    global: { turn: 2 },
    kept: { task: ["weight"], global: ["turn"] },
  },
  task_capacity: 32,
  cpus: CPUS,
};

/** A board of this process with a state on it. */
function publish(shape: SharedStateShape): { board: AgentBoard; state: SharedState } {
  const board = AgentBoard.create();
  const state = new SharedState(shape, (size_bytes) => board.makeState(size_bytes));
  const facts = {
    kernel: "ghost",
    path: "/peer/enclave_5",
    is_made: false,
    abi_version: 91,
    shape,
  };
  board.publish(facts, state, []);
  board.phase = PHASE_ACTIVE;
  return { board, state };
}

Deno.test("the board of an agent is found by its enclave, and can be read when that has died", async () => {
  const folder = await Deno.makeTempDir({ prefix: "predecessor_test_" });
  await Deno.writeTextFile(`${folder}/ctl`, "");
  const started = await startProgram(
    "tests/agents/board_agent.ts",
    ["idle", "60000", "leave", folder],
  );
  try {
    await started.waitFor("pid ");
    assertEquals(findPredecessor(`${folder}2`), undefined);
    const board = findPredecessor(folder);
    assert(board !== undefined);
    assertEquals([board.facts.is_made, board.facts.shape.cpus], [true, [0, 1, 5]]);
    assertEquals(board.state.cpu("step_count", 1)[0], 41);
    assertEquals(board.alive_ns, 0);
    Deno.kill(Number(started.text().match(/^pid (\d+)/m)?.[1]), "SIGKILL");
    await started.ended();
    assertEquals(board.state.cpu("step_count", 1)[0], 41);
    assert(board.alive_ns > 0);
    assertEquals(findPredecessor(folder), undefined);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what the old policy kept is read from its board, by name and for its own kind only", () => {
  const { board, state } = publish(SHAPE);
  const tasks = new TaskTable(HARDWARE_MEMORY, state);
  const row = tasks.allocate(7, 8, 1);
  state.task("weight")[row] = 99;
  state.global("turn").set([3, 4]);
  const view = BoardView.open(board.fd, "view");
  assert(view !== undefined);
  const snapshot = keptBy(view, "keeper");
  assertEquals(snapshot?.tasks, [[7, 8, 99]]);
  assertEquals(snapshot?.global, { turn: [3, 4] });
  assertEquals(keptBy(view, "another"), undefined);
});

Deno.test("the gap is from each old agent's last step to the new one's first on that CPU", () => {
  const { board, state: old } = publish(SHAPE);
  const next = new SharedState({ ...SHAPE, cpus: [0, 2, 3] });
  const view = BoardView.open(board.fd, "view");
  assert(view !== undefined);
  assertEquals(upgradeGap(view, next), undefined);
  old.cpuF64("ended_ns", 0)[0] = 1000;
  old.cpuF64("ended_ns", 2)[0] = 5000;
  next.cpuF64("began_ns", 0)[0] = 4000;
  next.cpuF64("began_ns", 2)[0] = 5500;
  next.cpuF64("began_ns", 3)[0] = 9_000_000;
  assertEquals(upgradeGap(view, next), { longest_ns: 3000, median_ns: 3000 });
});

Deno.test("a board on which nothing was published, or that is none, is no board", () => {
  assertEquals(BoardView.open(AgentBoard.create().fd, "view"), undefined);
  assertEquals(BoardView.open(9999, "view"), undefined);
});

Deno.test("a dead agent's tasks and counters are dumped from its board, by its own policy only", () => {
  const shape: SharedStateShape = {
    policy: FIFO_PER_CPU.name,
    layout: FIFO_PER_CPU.layout(CPUS.length),
    task_capacity: 32,
    cpus: CPUS,
  };
  const make = (): BoardView | undefined => {
    const { board, state } = publish(shape);
    new TaskTable(HARDWARE_MEMORY, state).allocate(7, 8, 1);
    state.cpu("step_active", 2)[0] = 1;
    state.cpu("step_count", 2)[0] = 1234;
    return BoardView.open(board.fd, "copy");
  };
  const text = postMortem(make(), () => FIFO_PER_CPU);
  assert(text.includes("CPU 2: step under way, 1234 steps"), text);
  assert(text.includes("SchedState[2]") && /^A0\/0\/\d+ *-1 +--$/m.test(text), text);
  assertEquals(postMortem(undefined, () => FIFO_PER_CPU), "");
  assertEquals(postMortem(make(), () => ({ ...FIFO_PER_CPU, name: "another" })), "");
});
