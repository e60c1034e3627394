import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { InvariantError } from "../../lib/invariant.ts";
import {
  DEAD,
  LATCHED,
  READY,
  RUNNING,
  SimThread,
  SLEEPING,
  ThreadList,
  type ThreadState,
} from "./thread.ts";

const STATES: readonly ThreadState[] = [SLEEPING, READY, LATCHED, RUNNING, DEAD];

function threadIn(state: ThreadState): SimThread {
  const thread = new SimThread(1000, undefined, "t");
  thread.state = state;
  return thread;
}

function threads(count: number): SimThread[] {
  return Array.from({ length: count }, (_, index) => new SimThread(1000 + index, undefined, "t"));
}

/** The list from both ends. */
function membersOf(list: ThreadList): number[] {
  const forwards: number[] = [];
  for (let one = list.first; one !== null; one = one.next) forwards.push(one.tid);
  const backwards: number[] = [];
  for (let one = list.last; one !== null; one = one.prev) backwards.push(one.tid);
  assertEquals(backwards.reverse(), forwards);
  assertEquals(list.length, forwards.length);
  return forwards;
}

Deno.test("a thread changes state as a kernel's thread does, and in no other way", () => {
  const allowed: readonly (readonly [ThreadState, readonly ThreadState[]])[] = [
    [SLEEPING, [READY, RUNNING, DEAD]],
    [READY, [LATCHED, RUNNING, DEAD]],
    [LATCHED, [READY, RUNNING, DEAD]],
    [RUNNING, [READY, SLEEPING, DEAD]],
    [DEAD, []],
  ];
  for (const [from, followers] of allowed) {
    for (const to of STATES) {
      const thread = threadIn(from);
      if (followers.includes(to)) {
        thread.setState(to);
        assertEquals(thread.state, to);
      } else {
        assertThrows(() => thread.setState(to), InvariantError, `${from} cannot become ${to}`);
        assertEquals(thread.state, from);
      }
    }
  }
});

Deno.test("a gtid holds the tid above 41 bits of sequence number", () => {
  const thread = new SimThread(1234, undefined, "t");
  const value = (BigInt(thread.gtid_hi >>> 0) << 32n) | BigInt(thread.gtid_lo >>> 0);
  assertEquals(value >> 41n, 1234n);
  assertEquals(value & 0xffffffffn, 1n);
});

Deno.test("a thread may use every CPU until it is given a mask", () => {
  const thread = threadIn(READY);
  assert(thread.mayUse(0) && thread.mayUse(511));
  thread.affinity = new Int32Array(16);
  thread.affinity[1] = 1 << 31;
  assert(thread.mayUse(63));
  assertFalse(thread.mayUse(31) || thread.mayUse(62) || thread.mayUse(64));
});

Deno.test("a list keeps the order in which threads came", () => {
  const list = new ThreadList();
  assertEquals(membersOf(list), []);
  for (const thread of threads(3)) list.push(thread);
  assertEquals(membersOf(list), [1000, 1001, 1002]);
});

Deno.test("a thread leaves from front, middle and end, and may come back", () => {
  for (const victim of [0, 1, 2]) {
    const list = new ThreadList();
    const members = threads(3);
    for (const thread of members) list.push(thread);
    list.remove(members[victim]);
    const rest = [1000, 1001, 1002].filter((tid) => tid !== 1000 + victim);
    assertEquals(membersOf(list), rest);
    assertEquals([members[victim].next, members[victim].prev], [null, null]);
    list.push(members[victim]);
    assertEquals(membersOf(list), [...rest, 1000 + victim]);
  }
});

Deno.test("a list that was emptied can be filled again", () => {
  const list = new ThreadList();
  const [first, second] = threads(2);
  list.push(first);
  list.remove(first);
  assertEquals(membersOf(list), []);
  list.push(second);
  list.push(first);
  assertEquals(membersOf(list), [1001, 1000]);
});
