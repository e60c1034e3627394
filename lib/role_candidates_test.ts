import { assert, assertEquals } from "@std/assert";
import { CANDIDATES_MAX, roleCandidates } from "./role_candidates.ts";
import { machineRows } from "./test_topology.ts";

/** Two nodes with a last-level cache each, 112 CPUs. */
const ROWS = machineRows({
  core_count: 56,
  smt_count: 2,
  numa_node_count: 2,
  has_l3_cache: true,
  consecutive_smt_numbering: false,
});
const CPUS = ROWS.map(({ cpu }) => cpu);

Deno.test("all CPUs of a small enclave may get the role", () => {
  assertEquals(roleCandidates(CPUS.slice(0, 32), ROWS, { global_cpu: 3 }), CPUS.slice(0, 32));
});

Deno.test("of a large one the first CPU, its neighbours, and one CPU of each other node", () => {
  const chosen = roleCandidates(CPUS, ROWS, { global_cpu: 5 });
  assertEquals(chosen.length, CANDIDATES_MAX);
  assert(chosen.includes(5) && chosen.includes(61), "the CPU and its sibling");
  const others = chosen.filter((cpu) => ROWS[cpu].numa_node !== ROWS[5].numa_node);
  assertEquals(others, [28]);
});

Deno.test("no candidate is outside the enclave, and there are two at least", () => {
  const odd = CPUS.filter((cpu) => cpu % 2 === 1);
  const chosen = roleCandidates(odd, ROWS, { global_cpu: 5 });
  assert(chosen.every((cpu) => odd.includes(cpu)));
  // A machine that tells nothing of its caches.
  const bare = CPUS.map((cpu) => ({
    ...ROWS[cpu],
    siblings: [cpu],
    l3_siblings: [],
    numa_node: 0,
  }));
  assertEquals(roleCandidates(CPUS, bare, { global_cpu: 7 }), [0, 7]);
  assertEquals(roleCandidates(CPUS, [], { global_cpu: 7 }), [0, 7]);
});

Deno.test("candidates that the user names are taken as they are", () => {
  assertEquals(roleCandidates(CPUS, ROWS, { global_cpu: 7, role_cpus: [7, 9] }), [7, 9]);
});
