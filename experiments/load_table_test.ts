import { assertEquals, assertStringIncludes } from "@std/assert";
import { LOAD_COLUMNS, loadCells, loadTable } from "./load_table.ts";
import type { SubTestResult } from "./sim_load.ts";

const RESULT: SubTestResult = {
  name: "BusyExp",
  thread_count: 100,
  start_ns: 0,
  time_ns: 501_725_075,
  switch_count: 1898,
  wake_count: 3,
  wake_p50_ns: 1613,
  wake_p99_ns: 2482,
  wake_max_ns: 490_088_655,
  commit_count: 249,
  refused_count: 2,
  faults: [],
  is_complete: true,
};

Deno.test("a row has one cell per column, in the order of the heads", () => {
  assertEquals(loadCells(RESULT).length, LOAD_COLUMNS.length);
  assertEquals(
    loadCells(RESULT).join("|"),
    "BusyExp|100|502 ms|1,898|1.61 us|2.48 us|490 ms|249|2",
  );
});

Deno.test("a sub-test that was stopped says so", () => {
  assertEquals(loadCells({ ...RESULT, is_complete: false })[0], "BusyExp (stopped)");
});

Deno.test("what was not as expected stands below the table", () => {
  const text = loadTable([RESULT, { ...RESULT, name: "Other", faults: ["a: expected b"] }]);
  assertStringIncludes(text, "\nOther: a: expected b\n");
  assertEquals(loadTable([RESULT]).includes("expected"), false);
});
