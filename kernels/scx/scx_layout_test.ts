import { assertEquals } from "@std/assert";
import {
  cpusOfMask,
  ENCLAVE_BYTES,
  maskOfCpus,
  readEnclaveRecord,
  readReport,
  REPORT_BYTES,
} from "./scx_layout.ts";

Deno.test("sets of CPUs go through two words and come back", () => {
  for (const cpus of [[], [0], [31], [32], [63], [0, 5, 31, 32, 40, 63]]) {
    assertEquals(cpusOfMask(...maskOfCpus(cpus)), cpus);
  }
});

Deno.test("a report is read with its texts up to their zero bytes", () => {
  const bytes = new Uint8Array(REPORT_BYTES);
  const words = new Int32Array(bytes.buffer);
  words.set([1026, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
  new TextEncoder().encodeInto("runnable task stall", bytes.subarray(128));
  new TextEncoder().encodeInto("x".repeat(320), bytes.subarray(192));
  const report = readReport(bytes);
  assertEquals([report.exit_kind, report.latched_count, report.fallback_count], [1026, 10, 4]);
  assertEquals(report.reason, "runnable task stall");
  assertEquals(report.message, "x".repeat(320));
});

Deno.test("an enclave's record is read with its CPUs and its owner", () => {
  const bytes = new Uint8Array(ENCLAVE_BYTES);
  new Int32Array(bytes.buffer).set([0b1110, 1, 1, 1, 4321, 3, 20]);
  assertEquals(readEnclaveRecord(bytes), {
    cpus: [1, 2, 3, 32],
    state: 1,
    is_online: true,
    owner_pid: 4321,
    task_count: 20,
  });
});
