/**
 * Message queues: creation, wake-ups, default queue, overflow and wrap (reference sections 1.2
 * and 1.4).
 *
 * @module
 */
import {
  GHOST_MAX_QUEUE_ELEMS,
  MSG_NOP,
  MSG_TASK_AFFINITY_CHANGED,
  QUEUE_NELEMS_WORD,
  QUEUE_START_WORD,
  QUEUE_VERSION_WORD,
  RING_HEAD_WORD,
  RING_MSGS_WORD,
  RING_OVERFLOW_WORD,
  RING_TAIL_WORD,
} from "../../../ffi/abi/constants.ts";
import { EBADF, EINVAL, ENXIO, type Queue } from "../../../kernels/kernel.ts";
import { MessageRing } from "../../../lib/ring.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectEqual, expectOk } from "../expect.ts";
import type { ContractHost, ContractThread } from "../host.ts";
import { createEnclave, createQueue, Lab } from "../lab.ts";

const RING_START_BYTES = 64;
const RING_HEADER_BYTES = 12;
const SLOT_BYTES = 8;
const PAGE_BYTES = 4096;

/** A word of the ring behind the queue's header. */
function ringWord(queue: Queue, word: number): number {
  return queue.words[(queue.words[QUEUE_START_WORD] >>> 2) + word];
}

/** Result of a call that may return a queue. */
function errorOf(result: Queue | number): number {
  return typeof result === "number" ? result : 0;
}

const CREATE_CASES: readonly ContractCase[] = [
  {
    name: "queue: the mapping starts with its header and is as large as the reference says",
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      for (let elems = 1; elems <= GHOST_MAX_QUEUE_ELEMS; elems *= 2) {
        const queue = createQueue(control, elems, []);
        const { words } = queue;
        expectEqual(queue.elem_count, elems, "elem_count");
        expectEqual(words[QUEUE_VERSION_WORD], 0, "version");
        expectEqual(words[QUEUE_START_WORD], RING_START_BYTES, "start of the ring");
        expectEqual(words[QUEUE_NELEMS_WORD], elems, "nelems");
        expectEqual(ringWord(queue, RING_HEAD_WORD), ringWord(queue, RING_TAIL_WORD), "empty");
        const bytes = RING_START_BYTES + RING_HEADER_BYTES + SLOT_BYTES * elems;
        const pages = Math.ceil(bytes / PAGE_BYTES);
        expectEqual(words.byteLength, pages * PAGE_BYTES, `bytes of ${elems} slots`);
        expectEqual(control.closeQueue(queue.id), 0, "close");
      }
      return Promise.resolve();
    },
  },
  {
    name: "queue: a size that is no power of two from 1 to 65536 is EINVAL",
    rule: "queue.elems",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      for (const elems of [0, -8, 3, 100, 65535, 131072]) {
        expectEqual(errorOf(control.createQueue(elems, 0, 0)), -EINVAL, `${elems} slots`);
      }
      return Promise.resolve();
    },
  },
  {
    name: "queue: a NUMA node that is not there is EINVAL",
    rule: "queue.node",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      for (const node of [host.missing_node, -1]) {
        expectEqual(errorOf(control.createQueue(64, node, 0)), -EINVAL, `node ${node}`);
      }
      return Promise.resolve();
    },
  },
  {
    name: "queue: flags other than 0 are EINVAL",
    rule: "queue.flags",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      expectEqual(errorOf(control.createQueue(64, 0, 1)), -EINVAL, "flags 1");
      return Promise.resolve();
    },
  },
  {
    name: "queue: closing one that is not there is EBADF",
    rule: "queue.close_unknown",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const queue = createQueue(control, 64, []);
      expectEqual(control.closeQueue(queue.id), 0, "the first time");
      expectEqual(control.closeQueue(queue.id), -EBADF, "the second time");
      return Promise.resolve();
    },
  },
];

const DEFAULT_CASES: readonly ContractCase[] = [
  {
    name: "default queue: one that is not there is EBADF",
    rule: "queue.default_known",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const queue = createQueue(control, 64, []);
      expectEqual(control.setDefaultQueue(queue.id + 100), -EBADF, "result");
      return Promise.resolve();
    },
  },
  {
    name: "default queue: one of another enclave is EINVAL",
    rule: "queue.default_foreign",
    negative: true,
    cpu_count: 2,
    run: (host) => {
      const [mine, other] = [createEnclave(host, [0]), createEnclave(host, [1])];
      const queue = createQueue(other, 64, []);
      expectEqual(mine.setDefaultQueue(queue.id), -EINVAL, "result");
      return Promise.resolve();
    },
  },
  {
    name: "default queue: closing it does not leave it the default queue",
    rule: "queue.close_default",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const queue = createQueue(control, 64, []);
      expectEqual(control.setDefaultQueue(queue.id), 0, "set");
      expectEqual(control.closeQueue(queue.id), 0, "close");
      expectEqual(control.join(host.spawn([]).tid), -ENXIO, "join");
      return Promise.resolve();
    },
  },
];

/** An agent on CPUs 0 to 2 and a queue of its own kind; a task whose messages go there. */
async function withQueue(host: ContractHost, wakeup_cpus: readonly number[]) {
  const lab = await Lab.open(host, { queues: "polled" });
  const queue = createQueue(lab.control, 256, wakeup_cpus);
  const thread = lab.task();
  const { gtid_lo, gtid_hi } = thread;
  const barrier = lab.taskBarrier(thread);
  expectOk(lab.control.associate(queue.id, gtid_lo, gtid_hi, barrier), "associate");
  for (const cpu of lab.control.cpus()) await lab.idle(cpu);
  const before = lab.control.cpus().map((cpu) => lab.steps(cpu));
  /** The agents that have made a step since. */
  const woken = async (): Promise<number[]> => {
    await host.sleep(200_000);
    return lab.control.cpus().filter((cpu, index) => lab.steps(cpu) > before[index]);
  };
  return { lab, queue, thread, woken };
}

const WAKEUP_CASES: readonly ContractCase[] = [
  {
    name: "wake-up: for a queue that is not there it is EBADF",
    rule: "queue.wakeup_queue",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const queue = createQueue(control, 64, []);
      expectEqual(control.configQueueWakeup(queue.id + 100, [0], 0), -EBADF, "result");
      return Promise.resolve();
    },
  },
  {
    name: "wake-up: flags other than 0 are EINVAL",
    rule: "queue.wakeup_flags",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const queue = createQueue(control, 64, []);
      expectEqual(control.configQueueWakeup(queue.id, [0], 1), -EINVAL, "result");
      return Promise.resolve();
    },
  },
  {
    name: "wake-up: more than two targets are EINVAL",
    rule: "queue.wakeup_ninfo",
    negative: true,
    cpu_count: 3,
    run: (host) => {
      const control = createEnclave(host, [0, 1, 2]);
      const queue = createQueue(control, 64, []);
      expectEqual(control.configQueueWakeup(queue.id, [0, 1], 0), 0, "two");
      expectEqual(control.configQueueWakeup(queue.id, [0, 1, 2], 0), -EINVAL, "three");
      return Promise.resolve();
    },
  },
  {
    name: "wake-up: a target that is no CPU of the enclave is EINVAL",
    rule: "queue.wakeup_cpu",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const queue = createQueue(control, 64, []);
      for (const cpu of [host.outside_cpu, host.missing_cpu, -1]) {
        expectEqual(control.configQueueWakeup(queue.id, [cpu], 0), -EINVAL, `CPU ${cpu}`);
      }
      return Promise.resolve();
    },
  },
  {
    name: "wake-up: configuring it does not leave the agent of the last CPU asleep",
    rule: "queue.wakeup_wakes",
    negative: true,
    cpu_count: 3,
    run: async (host) => {
      const { lab, queue, woken } = await withQueue(host, []);
      expectEqual(lab.control.configQueueWakeup(queue.id, [1, 2], 0), 0, "configure");
      expectEqual(await woken(), [2], "agents that were woken");
    },
  },
  {
    name: "wake-up: a message does not leave the agent of the first target asleep",
    rule: "queue.wake",
    negative: true,
    cpu_count: 3,
    run: async (host) => {
      const { lab, thread, woken } = await withQueue(host, [1]);
      await lab.idle(1);
      host.setAffinity(thread, [0, 1, 2]);
      expectEqual(await woken(), [1], "agents that were woken");
    },
  },
  {
    name: "wake-up: if the message's own CPU is a target, no other is woken",
    rule: "queue.preferred_cpu",
    negative: true,
    cpu_count: 3,
    run: async (host) => {
      const { lab, queue, thread } = await withQueue(host, []);
      await lab.runOn(2, thread);
      expectEqual(lab.control.configQueueWakeup(queue.id, [1, 2], 0), 0, "configure");
      await lab.idle(2);
      const before = [1, 2].map((cpu) => lab.steps(cpu));
      host.setAffinity(thread, [0, 1, 2]);
      await lab.until(() => lab.steps(2) > before[1], "a step of the agent of CPU 2");
      expectEqual(lab.steps(1), before[0], "steps of the agent of CPU 1");
    },
  },
  {
    name: "wake-up: a queue whose wake-up was taken away wakes nobody",
    rule: "queue.wakeup_none",
    negative: true,
    cpu_count: 3,
    run: async (host) => {
      const { lab, queue, thread } = await withQueue(host, [1]);
      expectEqual(lab.control.configQueueWakeup(queue.id, [], 0), 0, "configure");
      await lab.idle(1);
      const before = lab.steps(1);
      host.setAffinity(thread, [0, 1, 2]);
      await host.sleep(200_000);
      expectEqual(lab.steps(1), before, "steps");
    },
  },
];

/** Each time another set, since the present one is no change. */
function changeAffinity(host: ContractHost, thread: ContractThread, turn: number): void {
  host.setAffinity(thread, turn % 2 === 0 ? [0] : [0, host.outside_cpu]);
}

/** Sends messages about a task into a queue that nobody drains. */
function sendMany(host: ContractHost, lab: Lab, count: number): void {
  const thread = lab.sleeper();
  for (let sent = 0; sent < count; sent++) changeAffinity(host, thread, sent);
}

const RING_CASES: readonly ContractCase[] = [
  {
    name: "ring: a message that does not fit is counted and dropped, and the rest stays whole",
    rule: "queue.overflow",
    negative: true,
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host, { elem_count: 16, drains: false });
      sendMany(host, lab, 20);
      const queue = lab.queueOf(0);
      const dropped = ringWord(queue, RING_OVERFLOW_WORD);
      const ring = new MessageRing(host.kernel.memory, queue.words);
      let seen = 0;
      for (let at = ring.peek(); at >= 0; at = ring.peek()) {
        ring.consume(at);
        seen++;
      }
      expectEqual(seen + dropped, 21, "messages read and dropped");
      expect(dropped > 0 && seen > 1, `${seen} read, ${dropped} dropped`);
    },
  },
  {
    name: "ring: the end is filled with a NOP as long as what is left, never with half a message",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host, { elem_count: 32, drains: false });
      const queue = lab.queueOf(0);
      const { words } = queue;
      const ring = new MessageRing(host.kernel.memory, words);
      const first = (words[QUEUE_START_WORD] >>> 2) + RING_MSGS_WORD;
      let fillers = 0;
      const thread = lab.sleeper();
      for (let sent = 0; sent < 200; sent++) {
        const head = ringWord(queue, RING_HEAD_WORD);
        changeAffinity(host, thread, sent);
        const slot = head & 31;
        const header = words[first + slot * 2];
        if ((header & 0xffff) === MSG_NOP) {
          expectEqual(header >>> 16, (32 - slot) * SLOT_BYTES, "length of the filler");
          fillers++;
        }
        for (let at = ring.peek(); at >= 0; at = ring.peek()) {
          const end = (at - first) / 2 + (((words[at] >>> 16) + 7) >>> 3);
          expect(end <= 32, "a message within the ring");
          if (sent > 0) expectEqual(words[at] & 0xffff, MSG_TASK_AFFINITY_CHANGED, "type");
          ring.consume(at);
        }
        ring.release();
      }
      expectEqual(ringWord(queue, RING_OVERFLOW_WORD), 0, "overflow");
      expect(fillers > 0, "a filler was seen");
    },
  },
  {
    name: "ring: messages of a task come in the order of what happened",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host, { elem_count: 64 });
      const thread = lab.sleeper();
      for (let sent = 0; sent < 40; sent++) {
        changeAffinity(host, thread, sent);
        await lab.idle(0);
      }
      const seqnums = (await lab.messagesOf(thread)).map((message) => message.seqnum);
      expectEqual(seqnums, seqnums.toSorted((a, b) => a - b), "sequence numbers");
      expectEqual(seqnums.length, 41, "messages");
    },
  },
];

/** Queues. */
export const QUEUE_CASES: readonly ContractCase[] = [
  ...CREATE_CASES,
  ...DEFAULT_CASES,
  ...WAKEUP_CASES,
  ...RING_CASES,
];
