import { assert, assertEquals } from "@std/assert";
import type { EnclaveView, KernelView } from "../../kernels/real_kernel.ts";
import { OperatingError } from "../../lib/errors.ts";
import { Gtid } from "../../lib/gtid.ts";
import { SCHED_ITEM_RUNNABLE, SchedItem, WorkClass } from "../../shared/prio_table.ts";
import { addThreads, joinEnclave, makeHints } from "./enclave_threads.ts";

const PLAN = { item_count: 3, first_sid: 1, qos: 2, exectime_ns: 100, flags: SCHED_ITEM_RUNNABLE };

function enclaveOf(join: (tid: number) => number): { kernel: KernelView; enclave: EnclaveView } {
  const enclave: EnclaveView = {
    id: 3,
    path: "/sys/fs/ghost/enclave_3",
    cpus: () => [1],
    taskTids: () => [],
    isOnline: () => true,
    join,
    selfJoin: () => undefined,
    setRunnableTimeout: () => 0,
    destroy: () => 0,
  };
  return { kernel: { kind: "ghost", enclaves: () => [enclave] }, enclave };
}

Deno.test("threads join an enclave one by one; the first that cannot is told", () => {
  const joined: number[] = [];
  const join = (tid: number): number => tid === 12 ? -18 : (joined.push(tid), 0);
  assertEquals(joinEnclave(enclaveOf(join), [10, 11]), undefined);
  const fault = joinEnclave(enclaveOf(join), [13, 12, 14]);
  assert(fault?.message.startsWith("thread 12 cannot join /sys/fs/ghost/enclave_3 (EXDEV)"));
  assertEquals(joined, [10, 11, 13]);
});

Deno.test("threads have rows from the first on, in one work class of one-shots", () => {
  const client = makeHints(PLAN);
  assert(!(client instanceof OperatingError), String(client));
  const work_class = new WorkClass();
  client.getWorkClass(0, work_class);
  assertEquals([work_class.qos, work_class.exectime_ns, work_class.period_ns], [2, 100, 0]);
  assert(client.isOneShot(0));
  assertEquals(addThreads(client, PLAN, [70, 71], (tid) => Gtid.make(tid, 5)), undefined);
  const item = new SchedItem();
  client.getSchedItem(2, item);
  assertEquals([item.gtid_lo, item.gtid_hi], [Gtid.make(71, 5).lo, Gtid.make(71, 5).hi]);
  assert(!client.isIdle(1) && client.isIdle(0));
  const again = makeHints(PLAN);
  assert(again instanceof OperatingError && again.message.startsWith("no PrioTable: this process"));
  client.table.close();
});

Deno.test("a thread whose gtid is not known has no row", () => {
  const client = makeHints(PLAN);
  assert(!(client instanceof OperatingError), String(client));
  const fault = addThreads(client, PLAN, [70], () => new OperatingError("no gtid", "none"));
  assertEquals(fault?.message, "no gtid; none");
  client.table.close();
});
