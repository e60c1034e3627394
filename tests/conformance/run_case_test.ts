import { assertEquals } from "@std/assert";
import { type ContractCase, ContractFailure } from "./contract.ts";
import type { ContractHost } from "./host.ts";
import { planCases, runCase } from "./run_case.ts";

/** What comes of a case that does `run` on a host whose end is `close`. */
async function outcome(run: () => Promise<void>, close: () => Promise<void>): Promise<string> {
  const host = { kernel: { abi: { version: 91 }, capabilities: new Set() }, close };
  const contract_case = { name: "one", rule: "", cpu_count: 1, run };
  const [planned] = planCases([contract_case as unknown as ContractCase], 91);
  const result = await runCase(planned, host as unknown as ContractHost);
  return `${result.outcome} ${result.reason}`.trim();
}

const well = async () => {};

function failing(error: Error): () => Promise<void> {
  return () => Promise.reject(error);
}

Deno.test("run_case: a host that cannot be closed fails its case, not the suite", async () => {
  const stuck = failing(new Error("the agent of CPU 0 does not leave"));
  assertEquals(await outcome(well, well), "ok");
  assertEquals(await outcome(well, stuck), "FAIL broken: the agent of CPU 0 does not leave");
  assertEquals(
    await outcome(failing(new ContractFailure("two, not one")), stuck),
    "FAIL two, not one; broken: the agent of CPU 0 does not leave",
  );
});
