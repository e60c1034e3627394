import { assert, assertEquals, assertMatch } from "@std/assert";
import { batchEnclave, toolHost } from "../../util/test_enclave.ts";
import { main } from "./main.ts";

/** The numbers of a table's lines. */
function numbers(lines: readonly string[]): number[][] {
  return lines.map((line) => [...line.matchAll(/-?[\d.]+/g)].map(([text]) => Number(text)));
}

Deno.test("the kernel's own fair class gives real threads what their nice values say", async () => {
  const host = toolHost([batchEnclave({ cpus: () => [0] })]);
  const status = await main(["--stage_msec=400"], host);
  if (Deno.uid() !== 0) { // a negative nice value is root's
    assertEquals(status, 1);
    return assertMatch(host.err[0], /nice -20: expected that a nice value can be set/);
  }
  assertEquals([status, host.err], [0, []]);
  const rows = numbers(host.out.slice(2, 8));
  assertEquals(rows.map(([nice]) => nice), [0, 0, 0, 19, -20, 0]);
  const [first, second, third, low, high, middle] = rows.map(([, estimated]) => estimated);
  for (const share of [first, second, third]) assert(share > 20 && share < 47, `${share} %`);
  assert(low < 5 && middle < 10 && high > 85, `${low} % ${middle} % ${high} %`);
  assertEquals(rows.map(([, , expected]) => expected), [33.33, 33.33, 33.33, 0.02, 98.84, 1.14]);
});

Deno.test("threads that are bound to one CPU are all there, in every stage", async () => {
  const host = toolHost([batchEnclave({ cpus: () => [0, 1] })]);
  assertEquals(await main(["--stage_msec=100", "--only=SimpleLoadBalancing"], host), 0);
  assertMatch(host.out[1], /^ +cpu +first +second +third +fourth +final$/);
  const rows = numbers(host.out.slice(2, -1));
  for (let stage = 1; stage <= 5; stage++) {
    assertEquals(rows.reduce((sum, row) => sum + row[stage], 0), 10);
  }
  const [cpu, , second, third] = rows[0];
  assertEquals([cpu, second, third], [0, 10, 10]);
});

Deno.test("both sub-tests run on the simulated kernel", async () => {
  const host = toolHost([]);
  assertEquals([await main(["--kernel=sim", "--stage_msec=20"], host), host.err], [0, []]);
  const names = host.out.filter((line) => line.startsWith("Simple"));
  assertEquals(names, ["SimpleNice", "SimpleLoadBalancing"]);
  assertMatch(host.out.at(-1) ?? "", /^ took 10\d\.\d\d ms/); // five windows of time
});

Deno.test("a bad flag is one line and status 2", async () => {
  const host = toolHost([]);
  assertEquals([await main(["--stage_msec=0"], host), host.err.length], [2, 1]);
});
