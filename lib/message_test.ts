import { assert, assertEquals, assertFalse } from "@std/assert";
import { type Abi, ABI_VERSIONS, abiOf } from "../ffi/abi/abi.ts";
import {
  MSG_CPU_BUSY,
  MSG_CPU_NOT_IDLE,
  MSG_CPU_TICK,
  MSG_CPU_TIMER_EXPIRED,
  MSG_NOP,
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_DEAD,
  MSG_TASK_DEPARTED,
  MSG_TASK_LATCH_FAILURE,
  MSG_TASK_NEW,
  MSG_TASK_PREEMPT,
  MSG_TASK_PRIORITY_CHANGED,
  MSG_TASK_SWITCHTO,
  MSG_TASK_WAKEUP,
  MSG_TASK_YIELD,
} from "../ffi/abi/constants.ts";
import { encodeMessage, type MessageFields } from "../tests/fakes/encode_message.ts";
import { MessageCursor } from "./message.ts";

const GTID = { lo: 5, hi: 1234 << 9 };
/** The messages stand at an odd word, as in a ring, whose first one stands at byte 76. */
const AT = 19;

function messageOf(abi: Abi, type: number, fields: MessageFields): MessageCursor {
  const words = new Int32Array(64);
  words.set(encodeMessage(abi, type, fields.seqnum ?? 42, GTID, fields), AT);
  const cursor = new MessageCursor(abi);
  cursor.set(words, AT);
  return cursor;
}

function everyAbi(check: (abi: Abi) => void): void {
  for (const version of ABI_VERSIONS) check(abiOf(version) as Abi);
}

Deno.test("a cursor reads type, sequence number and gtid in place", () => {
  everyAbi((abi) => {
    const cursor = messageOf(abi, MSG_TASK_WAKEUP, { seqnum: 77 });
    assertEquals(cursor.type, MSG_TASK_WAKEUP);
    assertEquals(cursor.seqnum, 77);
    assertEquals([cursor.gtidLo(), cursor.gtidHi()], [GTID.lo, GTID.hi]);
    assert(cursor.isTaskMessage());
    assertFalse(cursor.isCpuMessage());
  });
});

Deno.test("CPU messages and fillers are no task messages", () => {
  everyAbi((abi) => {
    const tick = messageOf(abi, MSG_CPU_TICK, { cpu: 3 });
    assert(tick.isCpuMessage());
    assertFalse(tick.isTaskMessage());
    const filler = messageOf(abi, MSG_NOP, {});
    assertFalse(filler.isCpuMessage() || filler.isTaskMessage());
    assertEquals(filler.cpu(), -1);
  });
});

Deno.test("the bounds of the message ranges are inclusive", () => {
  const cursor = new MessageCursor(abiOf(91) as Abi);
  const kinds = [63, 64, 127, 128, 191, 192].map((type) => {
    cursor.set(new Int32Array([type, 0]), 0);
    return (cursor.isTaskMessage() ? "t" : "") + (cursor.isCpuMessage() ? "c" : "");
  });
  assertEquals(kinds, ["", "t", "t", "c", "c", ""]);
});

Deno.test("each message that names a CPU says which, in every ABI version", () => {
  const types = [
    MSG_TASK_BLOCKED,
    MSG_TASK_PREEMPT,
    MSG_TASK_YIELD,
    MSG_TASK_DEPARTED,
    MSG_TASK_SWITCHTO,
    MSG_CPU_TICK,
    MSG_CPU_NOT_IDLE,
    MSG_CPU_TIMER_EXPIRED,
    MSG_CPU_BUSY,
  ];
  everyAbi((abi) => {
    for (const type of types) {
      if (!abi.messages.has(type)) continue;
      assertEquals(messageOf(abi, type, { cpu: 301 }).cpu(), 301, `type ${type}`);
    }
  });
});

Deno.test("messages that name no CPU say −1", () => {
  everyAbi((abi) => {
    for (const type of [MSG_TASK_WAKEUP, MSG_TASK_DEAD, MSG_TASK_AFFINITY_CHANGED]) {
      assertEquals(messageOf(abi, type, { cpu: 7 }).cpu(), -1);
    }
  });
});

Deno.test("from_switchto, was_latched and was_current are told apart", () => {
  everyAbi((abi) => {
    const flagsOf = (type: number, fields: MessageFields): boolean[] => {
      const cursor = messageOf(abi, type, fields);
      return [cursor.fromSwitchto(), cursor.wasLatched(), cursor.wasCurrent()];
    };
    const switchto = { from_switchto: 1 };
    for (const type of [MSG_TASK_BLOCKED, MSG_TASK_PREEMPT, MSG_TASK_YIELD, MSG_TASK_DEPARTED]) {
      assertEquals(flagsOf(type, {}), [false, false, false]);
      assertEquals(flagsOf(type, switchto), [true, false, false]);
    }
    assertEquals(flagsOf(MSG_TASK_PREEMPT, { was_latched: 1 }), [false, true, false]);
    assertEquals(flagsOf(MSG_TASK_DEPARTED, { was_current: 1 }), [false, false, true]);
    assertEquals(flagsOf(MSG_TASK_WAKEUP, { waker_cpu: -1 }), [false, false, false]);
  });
});

Deno.test("a wake-up is deferrable only by its own byte", () => {
  everyAbi((abi) => {
    assert(messageOf(abi, MSG_TASK_WAKEUP, { deferrable: 1 }).deferrable());
    const other = { last_ran_cpu: -1, wake_up_cpu: -1, waker_cpu: -1, agent_data: 2 ** 53 - 1 };
    assertFalse(messageOf(abi, MSG_TASK_WAKEUP, other).deferrable());
  });
});

Deno.test("the runtime is exact beyond 32 bits", () => {
  const runtime = 2 ** 45 + 2 ** 31 + 7;
  const types = [
    MSG_TASK_NEW,
    MSG_TASK_BLOCKED,
    MSG_TASK_PREEMPT,
    MSG_TASK_YIELD,
    MSG_TASK_SWITCHTO,
  ];
  everyAbi((abi) => {
    for (const type of types) {
      assertEquals(messageOf(abi, type, { runtime }).runtimeNs(), runtime, `type ${type}`);
    }
  });
});

Deno.test("TASK_NEW tells whether the task can run, its word and its nice value", () => {
  everyAbi((abi) => {
    const fields = { runnable: 1, nice: -7, sw_index: 65533 };
    const cursor = messageOf(abi, MSG_TASK_NEW, fields);
    assert(cursor.runnable());
    assertEquals(cursor.statusIndex(), 65533);
    assertEquals(cursor.nice(), abi.version === 69 ? 0 : -7);
    assertFalse(messageOf(abi, MSG_TASK_NEW, { nice: -1, sw_index: -1 }).runnable());
  });
});

Deno.test("PRIORITY_CHANGED and LATCH_FAILURE carry nice value and errno", () => {
  everyAbi((abi) => {
    if (abi.version === 69) return;
    assertEquals(messageOf(abi, MSG_TASK_PRIORITY_CHANGED, { nice: -20 }).nice(), -20);
    assertEquals(messageOf(abi, MSG_TASK_LATCH_FAILURE, { errno: 22 }).latchErrno(), 22);
  });
});

Deno.test("messages print as upstream prints them", () => {
  const abi = abiOf(91) as Abi;
  const text = (type: number, fields: MessageFields): string =>
    messageOf(abi, type, fields).stringify("t/7");
  assertEquals(text(MSG_TASK_NEW, { runnable: 1 }), "M: TASK_NEW seq=42 t/7 runnable");
  assertEquals(text(MSG_TASK_NEW, {}), "M: TASK_NEW seq=42 t/7 blocked");
  assertEquals(text(MSG_TASK_WAKEUP, {}), "M: TASK_WAKEUP seq=42 t/7");
  assertEquals(text(MSG_TASK_DEAD, { cpu: 3 }), "M: TASK_DEAD seq=42 t/7");
  assertEquals(text(MSG_TASK_BLOCKED, { cpu: 3 }), "M: TASK_BLOCKED seq=42 t/7 on cpu 3");
  assertEquals(
    text(MSG_TASK_PREEMPT, { cpu: 3, was_latched: 1, from_switchto: 1 }),
    "M: TASK_PREEMPT seq=42 t/7 on cpu 3 (was_latched) (from_switchto)",
  );
  assertEquals(
    text(MSG_TASK_SWITCHTO, { cpu: 3 }),
    "M: TASK_SWITCHTO seq=42 t/7 entering switchto on cpu 3",
  );
  assertEquals(
    text(MSG_TASK_PRIORITY_CHANGED, { nice: -3 }),
    "M: TASK_PRIORITY_CHANGED seq=42 t/7 to nice -3",
  );
  assertEquals(text(MSG_CPU_TICK, { cpu: 5 }), "M: CPU_TICK seq=42 cpu=5");
  assertEquals(text(MSG_NOP, {}), "M: NOP seq=42 l=8");
});

Deno.test("an unknown type and a large sequence number print too", () => {
  const cursor = messageOf(abiOf(69) as Abi, 100, { seqnum: 4294967295 });
  assertEquals(cursor.stringify("t/7"), "M: UNKNOWN_100 seq=4294967295 t/7");
});
