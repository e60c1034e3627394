import { assertEquals } from "@std/assert";
import { limitProblems, LIMITS, type Limits } from "./limits.ts";

Deno.test("limits: the bounds of this build keep every relation", () => {
  assertEquals(limitProblems(LIMITS), []);
});

Deno.test("limits: each relation is found broken when its bound is changed", () => {
  const broken: [Partial<Limits>, string][] = [
    [{ cpu_mask_word_count: 8 }, "a CPU mask has one bit per CPU"],
    [{ max_status_word_count: 65536 }, "a status word's index fits 16 bits"],
    [{ max_task_count: 65535 }, "a task has a status word"],
    [{ max_task_count: 512 }, "agents leave status words to tasks"],
    [{ queue_elem_count: 1000 }, "a queue's slot count is a power of two"],
    [{ queue_elem_count: 131072 }, "the kernel accepts the queue's size"],
    [{ mailbox_slot_count: 65534 }, "a mailbox's slot count is a power of two"],
    [{ mailbox_slot_count: 32768 }, "a mailbox holds every task"],
    [{ dump_bytes_max: 32769 }, "a state dump fits an RPC buffer"],
  ];
  for (const [change, text] of broken) {
    assertEquals(limitProblems({ ...LIMITS, ...change }), [`broken limit: ${text}`]);
  }
});
