import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Mailbox, mailboxWords } from "../../lib/mailbox.ts";
import type { CheckedMemory, MemoryFault } from "./checked_memory.ts";
import { explore, type Operation, type Scenario } from "./checker.ts";

const SLOTS = 4;

/** Two senders write a column of a row and send the row; one receiver reads the column. */
function scenario(memory: CheckedMemory, rounds: number, columns_late = false): Scenario {
  const words = memory.shared(new Int32Array(mailboxWords(SLOTS)));
  const column = memory.shared(new Int32Array(16));
  const mailbox = new Mailbox(memory, words, SLOTS);
  // The indexes have run over several times, and do so again here.
  for (let turn = 0; turn < 3; turn++) mailbox.send(turn);
  for (let turn = 0; turn < 3; turn++) mailbox.receive();
  const received: number[] = [];
  const receive: Operation = {
    name: "receive",
    run: () => {
      const row = mailbox.receive();
      if (row < 0) return row;
      received.push(row);
      if (column[row] !== 100 + row) throw new Error(`row ${row} came before its columns`);
      return row;
    },
  };
  const send = (row: number): Operation => ({
    name: `send ${row}`,
    run: () => {
      if (!columns_late) column[row] = 100 + row;
      mailbox.send(row);
      if (columns_late) column[row] = 100 + row;
    },
  });
  const sender = (first: number): Operation[] =>
    Array.from({ length: rounds }, (_, index) => send(first + index));
  return {
    threads: [sender(0), sender(8), [receive, receive]],
    check: () => {
      for (let row = mailbox.receive(); row >= 0; row = mailbox.receive()) received.push(row);
      for (const first of [0, 8]) {
        const own = received.filter((row) => row >= first && row < first + 8);
        const sent = Array.from({ length: rounds }, (_, index) => first + index);
        if (own.join() !== sent.join()) throw new Error(`sent ${sent}, received ${own}`);
      }
      if (received.length !== 2 * rounds) throw new Error(`received ${received}`);
    },
  };
}

function failureOf(rounds: number, fault?: MemoryFault): string {
  const { failure, schedule_count } = explore((memory) => scenario(memory, rounds), { fault });
  if (failure === null) assert(schedule_count > 50, `only ${schedule_count} schedules`);
  return failure ?? "";
}

Deno.test("two senders and a receiver: nothing lost, nothing twice, each sender in order", () => {
  assertEquals(failureOf(1), "");
  assertEquals(failureOf(2), "");
});

Deno.test("planted: a ticket that two senders can get is found", () => {
  assertStringIncludes(failureOf(1, "split_add"), "received");
});

Deno.test("planted: a row sent before its columns are written is found", () => {
  const { failure } = explore((memory) => scenario(memory, 1, true));
  assertStringIncludes(failure ?? "", "came before its columns");
});
