import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  COMMIT_AT_TXN_COMMIT,
  DO_NOT_PREEMPT,
  GHOST_SW_TASK_MSG_GATED,
  GHOST_TXN_AGENT_STALE,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_INVALID_FLAGS,
  GHOST_TXN_INVALID_TARGET,
  GHOST_TXN_NO_AGENT,
  GHOST_TXN_POISONED,
  GHOST_TXN_TARGET_NOT_FOUND,
  GHOST_TXN_TARGET_STALE,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEPARTED,
  MSG_TASK_NEW,
  MSG_TASK_PREEMPT,
  MSG_TASK_WAKEUP,
} from "../../ffi/abi/constants.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { MessageCursor } from "../../lib/message.ts";
import { MessageRing } from "../../lib/ring.ts";
import { StatusWordTable } from "../../lib/status_word.ts";
import { TransactionTable } from "../../lib/transaction.ts";
import { EBADF, EBUSY, EINVAL, ENODEV, ENOENT, ESRCH, ESTALE } from "../kernel.ts";
import { type PeerEnclave, PeerKernel, type PeerQueue } from "./peer_kernel.ts";
import type { PeerAgentPort } from "./peer_port.ts";

const LO = 1;
const hiOf = (slot: number) => (1000 + slot) << 9;
const [READY, LATCHED] = [2, 3];
const ALREADY_AND_BRAND_NEW = 3;

interface Lab {
  readonly kernel: PeerKernel;
  readonly control: PeerEnclave;
  readonly queue: PeerQueue;
  readonly ring: MessageRing;
  readonly status: StatusWordTable;
  readonly txns: TransactionTable;
  /** Types of the messages since the last call, with the number of the task each is about. */
  take(): string[];
  /** Opens a transaction for a task on a CPU; `barrier` as the status word has it if left out. */
  open(cpu: number, slot: number, options?: { barrier?: number; run_flags?: number }): void;
}

/** A manual peer with one polled queue and three CPUs; no agent sleeps in it. */
async function withLab(body: (lab: Lab) => void | Promise<void>): Promise<void> {
  const kernel = new PeerKernel({ cpu_count: 3, task_count: 4, is_manual: true });
  const control = kernel.createEnclave([0, 1, 2], kernel.abi.version) as PeerEnclave;
  const queue = control.createQueue(64, 0, 0) as PeerQueue;
  assertEquals(control.setDefaultQueue(queue.id), 0);
  const ring = new MessageRing(HARDWARE_MEMORY, queue.words);
  const status = new StatusWordTable(HARDWARE_MEMORY, control.status_words);
  const txns = new TransactionTable(HARDWARE_MEMORY, control.cpu_data);
  const message = new MessageCursor(kernel.abi);
  const barrierOf = (slot: number) =>
    status.barrier(Math.max(0, control.taskStatusIndex(LO, hiOf(slot))));
  const take = () => {
    const texts: string[] = [];
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      message.set(ring.words, at);
      texts.push(`${message.type} ${(message.gtidHi() >> 9) - 1000}`);
      ring.consume(at);
    }
    ring.release();
    return texts;
  };
  const open: Lab["open"] = (cpu, slot, { barrier = barrierOf(slot), run_flags = 0 } = {}) =>
    txns.open(cpu, LO, hiOf(slot), barrier, 0, COMMIT_AT_TXN_COMMIT, run_flags);
  try {
    await body({ kernel, control, queue, ring, status, txns, take, open });
  } finally {
    kernel.close();
  }
}

function agentOf(control: PeerEnclave, cpu: number): PeerAgentPort {
  const port = control.becomeAgent(cpu, -1);
  assert(typeof port !== "number", `agent of CPU ${cpu}: ${port}`);
  return port;
}

async function until(what: () => boolean): Promise<void> {
  for (let turn = 0; !what(); turn++) {
    assert(turn < 10_000, `never: ${what}`);
    await new Promise((wake) => setTimeout(wake, 1));
  }
}

Deno.test("calls that a kernel refuses are refused with its errno", async () => {
  await withLab(({ kernel, control, queue }) => {
    for (const count of [0, 3, 131072, -1]) assertEquals(control.createQueue(count, 0, 0), -EINVAL);
    assertEquals(control.createQueue(64, 1, 0), -EINVAL);
    assertEquals(control.createQueue(64, 0, 1), -EINVAL);
    assertEquals(control.setDefaultQueue(99), -EBADF);
    assertEquals(control.configQueueWakeup(99, [0], 0), -EBADF);
    assertEquals(control.configQueueWakeup(queue.id, [0, 1, 2], 0), -EINVAL);
    assertEquals(control.configQueueWakeup(queue.id, [3], 0), -EINVAL);
    assertEquals(control.becomeAgent(3, -1), -ENODEV);
    assertEquals(control.becomeAgent(0, 99), -EBADF);
    assertEquals(control.associate(queue.id, LO, hiOf(0), 0), -ENOENT);
    assertEquals(control.taskStatusIndex(LO, hiOf(0)), -ENOENT);
    assertEquals(control.agentStatusIndex(0), -EINVAL);
    assertEquals(control.setOnline(true), 0);
    assertEquals(control.setOnline(true), -EBUSY);
    const port = agentOf(control, 0);
    assertEquals(control.becomeAgent(0, -1), -EBUSY);
    assertEquals(port.ping(1), -EINVAL);
    assertEquals(port.cpuTimeNs(LO, hiOf(0)), -ESRCH);
    assertEquals(port.freeStatusWord(port.status_index), -EINVAL);
    assertEquals(port.freeStatusWord(900), -ENOENT);
    assertEquals(port.localYield(0, 1), -EINVAL);
    assertEquals(kernel.createEnclave([0, 1, 2], kernel.abi.version), -EBUSY);
    assertEquals(kernel.createEnclave([0], 69), -ESRCH);
    assertThrows(() => new PeerKernel({ cpu_count: 65 }), Error, "peer_create");
  });
});

Deno.test("a yield with an old barrier looks again, and a left agent's calls say ENODEV", async () => {
  await withLab(({ control, status }) => {
    const port = agentOf(control, 0);
    const barrier = status.barrier(port.status_index);
    assertEquals(port.ping(0), 0);
    assertEquals(port.localYield(barrier, 0), -ESTALE);
    assertEquals(port.leave(), 0);
    assertEquals(port.leave(), -ENODEV);
    assertEquals(port.localYield(barrier + 1, 0), -ENODEV);
    assertEquals(port.localCommit(), -ENODEV);
    assertEquals(port.freeStatusWord(port.status_index), 0);
    agentOf(control, 0);
  });
});

Deno.test("a task's messages go where it is associated, in order, and only with its barrier", async () => {
  await withLab(({ kernel, control, queue, status, take }) => {
    const other = control.createQueue(64, 0, 0) as PeerQueue;
    assertEquals(kernel.happen(0, MSG_TASK_NEW), 0);
    assertEquals(take(), [`${MSG_TASK_NEW} 0`]);
    const barrier = status.barrier(control.taskStatusIndex(LO, hiOf(0)));
    assertEquals(control.associate(queue.id, LO, hiOf(0), barrier), 1);
    assertEquals(control.associate(other.id, LO, hiOf(0), barrier - 1), -ESTALE);
    assertEquals(control.associate(99, LO, hiOf(0), barrier), -EBADF);
    assertEquals(control.associate(other.id, LO, hiOf(0), barrier), 0);
    assertEquals(kernel.happen(0, MSG_TASK_WAKEUP), -EINVAL);
    assertEquals(kernel.happen(9, MSG_TASK_WAKEUP), -ENOENT);
    assertEquals(take(), []);
  });
});

Deno.test("a remote commit latches the task, and each refusal has its state", async () => {
  await withLab(({ kernel, control, txns, take, open }) => {
    const port = agentOf(control, 0);
    for (const slot of [0, 1]) kernel.happen(slot, MSG_TASK_NEW);
    take();
    open(1, 0);
    port.commit(1);
    assertEquals(txns.state(1), GHOST_TXN_NO_AGENT);
    const refusals: [() => void, number][] = [
      [() => open(0, 0, { barrier: 12345 }), GHOST_TXN_TARGET_STALE],
      [() => open(0, 3), GHOST_TXN_TARGET_STALE],
      [() => open(0, 77), GHOST_TXN_TARGET_NOT_FOUND],
      [() => open(0, 0, { run_flags: 8 }), GHOST_TXN_INVALID_FLAGS],
      [() => txns.open(0, -1, -1, 0, 0, COMMIT_AT_TXN_COMMIT, 0), GHOST_TXN_INVALID_TARGET],
      [() => txns.open(0, LO, hiOf(0), 0, 0, 3, 0), GHOST_TXN_INVALID_FLAGS],
    ];
    for (const [openOne, state] of refusals) {
      openOne();
      port.commit(0);
      assertEquals(txns.state(0), state);
    }
    open(0, 0);
    port.commit(0);
    assertEquals(txns.state(0), GHOST_TXN_COMPLETE);
    assertEquals(take(), []);
    assertEquals(kernel.taskState(0), LATCHED);
  });
});

Deno.test("a latched task that another one displaces is preempted", async () => {
  await withLab(({ kernel, control, txns, take, open }) => {
    const port = agentOf(control, 0);
    for (const slot of [0, 1]) kernel.happen(slot, MSG_TASK_NEW);
    take();
    open(0, 0);
    port.commit(0);
    open(0, 1);
    port.commit(0);
    assertEquals(txns.state(0), GHOST_TXN_COMPLETE);
    assertEquals(take(), [`${MSG_TASK_PREEMPT} 0`]);
    assertEquals([kernel.taskState(0), kernel.taskState(1)], [READY, LATCHED]);
  });
});

Deno.test("a sync group commits all or none and says which member failed", async () => {
  await withLab(({ kernel, control, txns, take, open }) => {
    const port = agentOf(control, 0);
    for (const cpu of [1, 2]) agentOf(control, cpu);
    for (const slot of [0, 1, 2]) kernel.happen(slot, MSG_TASK_NEW);
    take();
    const mask = new Int32Array(16);
    mask[0] = 0b110;
    for (const cpu of [1, 2]) assert(txns.takeOwnership(cpu, 5));
    open(1, 0);
    open(2, 1, { barrier: 999 });
    assertEquals(port.commitSyncGroup(mask), 0);
    assertEquals([txns.state(1), txns.state(2)], [GHOST_TXN_POISONED, GHOST_TXN_TARGET_STALE]);
    assertEquals([txns.owner(1), txns.owner(2)], [5, 5]);
    assertEquals(kernel.taskState(0), READY);
    open(1, 0);
    open(2, 1);
    assertEquals(port.commitSyncGroup(mask), 1);
    assertEquals([txns.state(1), txns.state(2)], [GHOST_TXN_COMPLETE, GHOST_TXN_COMPLETE]);
    assertEquals([txns.owner(1), txns.owner(2)], [-1, -1]);
    assertEquals([kernel.taskState(0), kernel.taskState(1)], [LATCHED, LATCHED]);
    // A group of the remaining task, with a member that has no open transaction.
    open(1, 2, { run_flags: DO_NOT_PREEMPT });
    assertEquals(port.commitSyncGroup(mask), 0);
    assertEquals(txns.state(1), GHOST_TXN_POISONED);
  });
});

Deno.test("a task that comes back is told of once the word of its last stay is free", async () => {
  await withLab(({ kernel, control, queue, status, take }) => {
    const port = agentOf(control, 0);
    kernel.happen(0, MSG_TASK_NEW);
    const old_index = control.taskStatusIndex(LO, hiOf(0));
    assertEquals(port.freeStatusWord(old_index), -EINVAL);
    assertEquals(kernel.happen(0, MSG_TASK_DEPARTED), 0);
    assertEquals(take(), [`${MSG_TASK_NEW} 0`, `${MSG_TASK_DEPARTED} 0`]);
    assertEquals(kernel.happen(0, MSG_TASK_NEW), 0);
    const index = control.taskStatusIndex(LO, hiOf(0));
    assert(index !== old_index);
    assertEquals(status.flags(old_index) & GHOST_SW_TASK_MSG_GATED, GHOST_SW_TASK_MSG_GATED);
    const barrier = status.barrier(index);
    assertEquals(control.associate(queue.id, LO, hiOf(0), barrier), ALREADY_AND_BRAND_NEW);
    assertEquals(take(), []);
    assertEquals(port.freeStatusWord(old_index), 0);
    assertEquals(take(), [`${MSG_TASK_NEW} 0`]);
  });
});

Deno.test("what is latched on a CPU whose agent dies waits for another one", async () => {
  await withLab(async ({ kernel, control, txns, open }) => {
    kernel.start();
    const port = agentOf(control, 0);
    agentOf(control, 1);
    kernel.happen(0, MSG_TASK_NEW);
    open(1, 0);
    port.commit(1);
    assertEquals(txns.state(1), GHOST_TXN_COMPLETE);
    control.agentDied(1);
    await until(() => kernel.taskState(0) === READY);
    assertEquals(kernel.happen(0, MSG_TASK_BLOCKED), -EINVAL);
  });
});

Deno.test("a stale agent barrier refuses a local commit without giving the CPU away", async () => {
  await withLab(({ kernel, control, status, txns, take }) => {
    const port = agentOf(control, 0);
    kernel.happen(0, MSG_TASK_NEW);
    take();
    const barrier = status.barrier(port.status_index);
    const task_barrier = status.barrier(control.taskStatusIndex(LO, hiOf(0)));
    port.ping(0);
    txns.open(0, LO, hiOf(0), task_barrier, barrier, COMMIT_AT_TXN_COMMIT, 0);
    assertEquals(port.localCommit(), 0);
    assertEquals(txns.state(0), GHOST_TXN_AGENT_STALE);
    assertEquals(kernel.taskState(0), READY);
  });
});
