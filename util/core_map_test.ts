import { assertEquals } from "@std/assert";
import { simTopology } from "../kernels/sim/sim_topology.ts";
import { coreMap } from "./core_map.ts";

Deno.test("the core map has a core's CPUs in brackets, a tab between cores, eight to a line", () => {
  assertEquals(coreMap(simTopology(4)), "Core map\n(  0  2 )\t(  1  3 )\t\n");
  const [head, first, second, end] = coreMap(simTopology(20)).split("\n");
  assertEquals(head, "Core map");
  assertEquals(first.split("\t").length, 8);
  assertEquals(first.endsWith("(  7 17 )"), true);
  assertEquals([second, end], ["(  8 18 )\t(  9 19 )\t", ""]);
});
