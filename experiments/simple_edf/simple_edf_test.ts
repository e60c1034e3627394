import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { batchEnclave, toolHost } from "../../util/test_enclave.ts";
import { main } from "./main.ts";

const NAMES = [
  "SimpleExp",
  "SimpleExpMany",
  "SimpleRepeatable",
  "BusyExp",
  "TaskDeparted",
  "TaskDepartedMany",
];

Deno.test("the six sub-tests hold on the simulated kernel under EDF", async () => {
  const host = toolHost([]);
  assertEquals([await main(["--kernel=sim"], host), host.err], [0, []]);
  assertMatch(host.out[0], /^simulated: 3 CPUs, policy edf; /);
  assertEquals(host.out.slice(1).filter((line) => !line.startsWith(" ")), NAMES);
});

Deno.test("repeating work of 10 ms takes ten times that on the simulated kernel", async () => {
  const host = toolHost([]);
  assertEquals(await main(["--kernel=sim", "--only=SimpleRepeatable"], host), 0);
  assertMatch(host.out[2], /^ took 10\d\.\d\d ms/);
});

Deno.test("--spin_threads and --spin_msec are those of BusyExp", async () => {
  const host = toolHost([]);
  const args = ["--kernel=sim", "--only=BusyExp", "--spin_threads=4", "--spin_msec=3"];
  assertEquals(await main(args, host), 0);
  assertMatch(host.out[2], /^ took 6\.\d\d ms/); // two CPUs beside the global agent's
});

Deno.test("real threads run the sub-tests for which any agent does", async () => {
  for (const name of ["SimpleExpMany", "TaskDeparted"]) {
    const host = toolHost([batchEnclave()]);
    assertEquals([await main([`--only=${name}`], host), host.err], [0, []]);
  }
});

Deno.test("bad flags are one line and status 2", async () => {
  for (const args of [["--spin_threads=0"], ["--spin_msec=x"], ["--spin_threads=99999"]]) {
    const host = toolHost([]);
    assertEquals([args, await main(args, host)], [args, 2]);
    assertStringIncludes(host.err[0], "simple_edf: bad value");
  }
});
