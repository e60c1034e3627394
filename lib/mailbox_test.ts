import { assertEquals } from "@std/assert";
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { Mailbox, mailboxWords } from "./mailbox.ts";

function fresh(slot_count: number): { mailbox: Mailbox; words: Int32Array } {
  const words = new Int32Array(new SharedArrayBuffer(4 * mailboxWords(slot_count)));
  return { mailbox: new Mailbox(HARDWARE_MEMORY, words, slot_count), words };
}

function drain(mailbox: Mailbox): number[] {
  const rows: number[] = [];
  for (let row = mailbox.receive(); row >= 0; row = mailbox.receive()) rows.push(row);
  return rows;
}

Deno.test("an empty mailbox gives −1, again and again", () => {
  const { mailbox } = fresh(16);
  assertEquals([mailbox.receive(), mailbox.receive()], [-1, -1]);
});

Deno.test("rows arrive in the order of sending; row 0 is a row", () => {
  const { mailbox } = fresh(16);
  for (const row of [5, 0, 9]) mailbox.send(row);
  assertEquals(drain(mailbox), [5, 0, 9]);
});

Deno.test("a mailbox takes as many rows as it has slots, round after round", () => {
  const { mailbox } = fresh(8);
  for (let round = 0; round < 5; round++) {
    const rows = Array.from({ length: 8 }, (_, index) => (index * 3 + round) % 8);
    for (const row of rows) mailbox.send(row);
    assertEquals(drain(mailbox), rows);
    mailbox.send(round);
    assertEquals(drain(mailbox), [round]);
  }
});

Deno.test("indexes run over from the largest to the smallest number", () => {
  const { mailbox, words } = fresh(8);
  words[0] = words[1] = 0x7ffffffd;
  for (let row = 0; row < 8; row++) mailbox.send(row);
  assertEquals(drain(mailbox), [0, 1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("a receiver that is replaced goes on where the last one stopped", () => {
  const { mailbox, words } = fresh(16);
  for (const row of [1, 2, 3]) mailbox.send(row);
  assertEquals(mailbox.receive(), 1);
  assertEquals(drain(new Mailbox(HARDWARE_MEMORY, words, 16)), [2, 3]);
});
