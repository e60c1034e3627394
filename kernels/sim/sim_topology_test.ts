import { assert, assertEquals } from "@std/assert";
import { simTopology } from "./sim_topology.ts";

Deno.test("siblings are half the machine apart", () => {
  const rows = simTopology(8);
  assertEquals(rows.map((row) => row.cpu), [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals(rows.map((row) => row.core), [0, 1, 2, 3, 0, 1, 2, 3]);
  assertEquals(rows.map((row) => row.smt_idx), [0, 0, 0, 0, 1, 1, 1, 1]);
  assertEquals(rows[6].siblings, [2, 6]);
  assertEquals(rows[6].l3_siblings, [0, 1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("an odd number of CPUs, or two, has no siblings", () => {
  for (const cpu_count of [1, 2, 7]) {
    for (const row of simTopology(cpu_count)) {
      assertEquals([row.core, row.smt_idx, row.siblings], [row.cpu, 0, [row.cpu]]);
    }
  }
});

Deno.test("sixteen CPUs share a cache and 128 a node", () => {
  const rows = simTopology(512);
  assertEquals(rows[0].l3_siblings.length, 16);
  assertEquals(rows[300].l3_siblings, rows[44].l3_siblings);
  assertEquals([rows[63].numa_node, rows[64].numa_node, rows[511].numa_node], [0, 1, 3]);
  assertEquals(rows.filter((row) => row.numa_node === 2).length, 128);
});

Deno.test("relations hold in both directions, for every size", () => {
  for (const cpu_count of [1, 2, 3, 4, 6, 16, 18, 40, 100, 512]) {
    const rows = simTopology(cpu_count);
    assertEquals(rows.length, cpu_count);
    for (const row of rows) {
      assert(row.siblings.includes(row.cpu) && row.l3_siblings.includes(row.cpu));
      assertEquals(row.siblings[row.smt_idx], row.cpu);
      for (const sibling of row.siblings) assertEquals(rows[sibling].siblings, row.siblings);
      for (const other of row.l3_siblings) {
        assertEquals(rows[other].l3_siblings, row.l3_siblings);
        assertEquals(rows[other].numa_node, row.numa_node);
      }
    }
  }
});
