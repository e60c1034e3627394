import { assertEquals } from "@std/assert";
import { PROGRAMS } from "./programs.ts";
import { POLICY_LOADERS } from "./agent_worker.ts";

const OPTIONS = { global_cpu: 0, preemption_time_slice_ns: 30_000, ticks: false };

Deno.test("an agent's thread finds each policy by the policy's own name", async () => {
  for (const [name, load] of Object.entries(POLICY_LOADERS)) {
    assertEquals((await load())(OPTIONS).name, name);
  }
  const agents = Object.values(PROGRAMS).filter(({ summary }) => /^agent with/.test(summary));
  assertEquals(Object.keys(POLICY_LOADERS).length, agents.length);
});
