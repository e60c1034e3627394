import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  GHOST_TXN_ABORTED,
  GHOST_TXN_COMPLETE,
  GHOST_TXN_READY,
  SYNC_GROUP_NOT_OWNED,
  TXN_GTID_WORD,
  TXN_OWNER_WORD,
  TXN_STATE_WORD,
} from "../../ffi/abi/constants.ts";
import { TransactionTable, TXN_STRIDE_WORDS } from "../../lib/transaction.ts";
import type { CheckedMemory, MemoryFault } from "./checked_memory.ts";
import { explore, type Operation, type Scenario } from "./checker.ts";

function fresh(memory: CheckedMemory): { words: Int32Array; txns: TransactionTable } {
  const raw = new Int32Array(TXN_STRIDE_WORDS);
  raw[TXN_STATE_WORD] = GHOST_TXN_COMPLETE;
  raw[TXN_OWNER_WORD] = SYNC_GROUP_NOT_OWNED;
  const words = memory.shared(raw);
  return { words, txns: new TransactionTable(memory, words) };
}

function failureOf(make: (memory: CheckedMemory) => Scenario, fault?: MemoryFault): string {
  const { failure, schedule_count } = explore(make, { fault });
  if (failure === null) assert(schedule_count > 5, `only ${schedule_count} schedules`);
  return failure ?? "";
}

/** Three agents want the record for their sync groups, and give it back if they got it. */
function owners(memory: CheckedMemory): Scenario {
  const { words, txns } = fresh(memory);
  const holders: number[] = [];
  const agent = (id: number): Operation[] => [{
    name: "take",
    run: () => {
      const taken = txns.takeOwnership(0, id);
      if (taken) holders.push(id);
      return taken;
    },
  }, {
    name: "release",
    run: () => {
      if (!holders.includes(id)) return;
      if (holders.length > 1) throw new Error(`owned by ${holders}`);
      if (txns.owner(0) !== id) throw new Error(`${id} has lost it`);
      holders.pop();
      txns.releaseOwnership(0);
    },
  }];
  return {
    threads: [agent(0), agent(1), agent(2)],
    check: (history) => {
      if (!history.some(({ result }) => result === true)) throw new Error("nobody got it");
      if (words[TXN_OWNER_WORD] !== SYNC_GROUP_NOT_OWNED) throw new Error("not given back");
    },
  };
}

/** An agent opens and withdraws; the kernel claims and decides. */
function withdrawal(memory: CheckedMemory): Scenario {
  const { words, txns } = fresh(memory);
  let ran = false;
  return {
    threads: [
      [
        { name: "open", run: () => txns.open(0, 5, 6, 1, 1, 0, 0) },
        { name: "abort", run: () => txns.abort(0) },
      ],
      [{
        name: "commit",
        run: () => {
          const seen = memory.compareExchange(words, TXN_STATE_WORD, GHOST_TXN_READY, 0);
          if (seen !== GHOST_TXN_READY) return;
          if (words[TXN_GTID_WORD] !== 5 || words[TXN_GTID_WORD + 1] !== 6) {
            throw new Error("claimed before its fields were written");
          }
          ran = true;
          memory.publish(words, TXN_STATE_WORD, GHOST_TXN_COMPLETE);
        },
      }],
    ],
    check: (history) => {
      const aborted = history.find(({ name }) => name === "abort")?.result;
      if (aborted === ran) throw new Error(`withdrawn ${aborted} and run ${ran}`);
      const expected = ran ? GHOST_TXN_COMPLETE : GHOST_TXN_ABORTED;
      if (txns.state(0) !== expected) throw new Error(`state ${txns.state(0)}`);
    },
  };
}

Deno.test("a record has one owner at a time, and somebody gets it", () => {
  assertEquals(failureOf(owners), "");
});

Deno.test("a transaction is either withdrawn or run", () => {
  assertEquals(failureOf(withdrawal), "");
});

Deno.test("planted: ownership that two agents can take is found", () => {
  const failure = failureOf(owners, "split_exchange");
  assert(/owned by|has lost it/.test(failure), failure);
});

Deno.test("planted: a withdrawal that does not see the claim is found", () => {
  assertStringIncludes(failureOf(withdrawal, "split_exchange"), "withdrawn true and run true");
});

Deno.test("planted: READY before the fields is found", () => {
  assertStringIncludes(failureOf(withdrawal, "stores_pass_publish"), "claimed before its fields");
});
