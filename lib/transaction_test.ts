import { assert, assertEquals, assertFalse } from "@std/assert";
import {
  COMMIT_AT_TXN_COMMIT,
  CPU_DATA_BYTES,
  GHOST_TXN_ABORTED,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_POISONED,
  GHOST_TXN_READY,
  GHOST_TXN_TARGET_STALE,
  RTLA_ON_IDLE,
  SYNC_GROUP_NOT_OWNED,
  TXN_COMMIT_TIME_WORD,
  TXN_OWNER_WORD,
  TXN_STATE_WORD,
} from "../ffi/abi/constants.ts";
import { LATEST_ABI } from "../ffi/abi/abi.ts";
import { HARDWARE_MEMORY, HardwareMemory, storeU64 } from "../ffi/memory.ts";
import {
  TransactionTable,
  TXN_STRIDE_WORDS,
  txnClaimed,
  txnCommitted,
  txnOpen,
  txnStateName,
  txnSucceeded,
} from "./transaction.ts";

function freshWords(record_count: number): Int32Array {
  const words = new Int32Array(new SharedArrayBuffer(record_count * CPU_DATA_BYTES));
  for (let record = 0; record < record_count; record++) {
    words[record * TXN_STRIDE_WORDS + TXN_STATE_WORD] = GHOST_TXN_COMPLETE;
    words[record * TXN_STRIDE_WORDS + TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
  }
  return words;
}

/** A field of the kernel's struct, read byte by byte. */
function field(words: Int32Array, record: number, name: string): number {
  const layout = LATEST_ABI.structs["ghost_txn"].fields.find((one) => one.name === name);
  assert(layout !== undefined);
  const view = new DataView(words.buffer, record * CPU_DATA_BYTES + layout.offset, layout.size);
  switch (layout.size) {
    case 1:
      return view.getUint8(0);
    case 2:
      return view.getUint16(0, true);
    case 4:
      return view.getInt32(0, true);
    default:
      return Number(view.getBigInt64(0, true));
  }
}

Deno.test("open fills in the kernel's struct of that record and no other", () => {
  const words = freshWords(3);
  const before = words.slice(0, TXN_STRIDE_WORDS);
  const txns = new TransactionTable(HARDWARE_MEMORY, words);
  txns.open(1, 5, 9, 11, 12, COMMIT_AT_TXN_COMMIT, RTLA_ON_IDLE);
  assertEquals(field(words, 1, "gtid"), 9 * 2 ** 32 + 5);
  assertEquals(field(words, 1, "task_barrier"), 11);
  assertEquals(field(words, 1, "agent_barrier"), 12);
  assertEquals(field(words, 1, "commit_flags"), COMMIT_AT_TXN_COMMIT);
  assertEquals(field(words, 1, "run_flags"), RTLA_ON_IDLE);
  assertEquals(field(words, 1, "state"), GHOST_TXN_READY);
  assertEquals(words.slice(0, TXN_STRIDE_WORDS), before);
  assertEquals(words.slice(2 * TXN_STRIDE_WORDS), before);
});

Deno.test("READY is written once, after all fields", () => {
  const words = freshWords(1);
  const published: number[] = [];
  class Recorder extends HardwareMemory {
    override publish(target: Int32Array, index: number, value: number): void {
      published.push(index, value, field(words, 0, "task_barrier"), field(words, 0, "gtid"));
      super.publish(target, index, value);
    }
  }
  new TransactionTable(new Recorder(), words).open(0, 5, 0, 11, 12, 0, 0);
  assertEquals(published, [TXN_STATE_WORD, GHOST_TXN_READY, 11, 5]);
});

Deno.test("the state goes from open over claimed to committed", () => {
  const words = freshWords(2);
  const txns = new TransactionTable(HARDWARE_MEMORY, words);
  txns.open(1, 5, 0, 1, 1, 0, 0);
  const kinds = (state: number): boolean[] => [
    txnOpen(state),
    txnClaimed(state),
    txnCommitted(state),
    txnSucceeded(state),
  ];
  assertEquals(kinds(txns.state(1)), [true, false, false, false]);
  for (const cpu of [0, 511]) assertEquals(kinds(cpu), [false, true, false, false]);
  assertEquals(kinds(GHOST_TXN_COMPLETE), [false, false, true, true]);
  assertEquals(kinds(GHOST_TXN_TARGET_STALE), [false, false, true, false]);
});

Deno.test("an open transaction can be withdrawn, a claimed or decided one cannot", () => {
  const words = freshWords(1);
  const txns = new TransactionTable(HARDWARE_MEMORY, words);
  assert(txns.takeOwnership(0, 4));
  txns.open(0, 5, 0, 1, 1, 0, 0);
  assert(txns.abort(0));
  assertEquals(txns.state(0), GHOST_TXN_ABORTED);
  assertEquals(txns.owner(0), SYNC_GROUP_NOT_OWNED);
  for (const state of [0, GHOST_TXN_COMPLETE, GHOST_TXN_ABORTED]) {
    words[TXN_STATE_WORD] = state;
    words[TXN_OWNER_WORD] = 4;
    assertFalse(txns.abort(0));
    assertEquals([txns.state(0), txns.owner(0)], [state, 4]);
  }
});

Deno.test("a record has one owner at a time", () => {
  const txns = new TransactionTable(HARDWARE_MEMORY, freshWords(2));
  assert(txns.takeOwnership(1, 0));
  assert(txns.takeOwnership(1, 0), "what is ours stays ours");
  assertFalse(txns.takeOwnership(1, 3));
  assertEquals(txns.owner(1), 0);
  assertEquals(txns.owner(0), SYNC_GROUP_NOT_OWNED);
  txns.releaseOwnership(1);
  assert(txns.takeOwnership(1, 3));
});

Deno.test("the commit time is exact beyond 32 bits", () => {
  const words = freshWords(2);
  storeU64(words, TXN_STRIDE_WORDS + TXN_COMMIT_TIME_WORD, 2 ** 50 + 1);
  assertEquals(new TransactionTable(HARDWARE_MEMORY, words).commitTimeNs(1), 2 ** 50 + 1);
});

Deno.test("states print as upstream prints them", () => {
  assertEquals(txnStateName(GHOST_TXN_READY), "GHOST_TXN_READY");
  assertEquals(txnStateName(GHOST_TXN_COMPLETE), "GHOST_TXN_COMPLETE");
  assertEquals(txnStateName(GHOST_TXN_POISONED), "GHOST_TXN_POISONED");
  assertEquals(txnStateName(0), "SUCCESSFUL_COMMIT_ON_CPU_0");
  assertEquals(txnStateName(511), "SUCCESSFUL_COMMIT_ON_CPU_511");
  assertEquals(txnStateName(512), "UNKNOWN_COMMIT_STATE_512");
  assertEquals(txnStateName(-5), "UNKNOWN_COMMIT_STATE_-5");
});
