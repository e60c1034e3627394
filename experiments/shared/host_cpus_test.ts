import { assertEquals, assertInstanceOf } from "@std/assert";
import { CpuList } from "../../lib/cpu_list.ts";
import { UsageError } from "../../lib/errors.ts";
import { measuredCpus, onlineCpus } from "./host_cpus.ts";

Deno.test("online CPUs come from sysfs; CPU 0 where there is none", () => {
  assertEquals(onlineCpus(() => "0-1,4\n").toIntVector(), [0, 1, 4]);
  assertEquals(onlineCpus(() => undefined).toIntVector(), [0]);
});

Deno.test("CPUs to measure on are online and not the one of background threads", () => {
  const online = CpuList.from([0, 1, 2, 4]);
  assertEquals(measuredCpus("cpus", "1-2,4", online), [1, 2, 4]);
  assertEquals(measuredCpus("cpus", "", online), []);
  const faults: [string, string][] = [
    ["0-2", "--cpus: CPU 0 is for background threads; name other CPUs"],
    ["3", "--cpus: there is no CPU 3; this host has 0-2,4; CPU 0 is for background threads"],
  ];
  for (const [text, message] of faults) {
    const fault = measuredCpus("cpus", text, online);
    assertInstanceOf(fault, UsageError);
    assertEquals(fault.message, message);
  }
  assertInstanceOf(measuredCpus("cpus", "x", online), UsageError);
});
