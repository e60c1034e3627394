import { assert, assertEquals } from "@std/assert";
import { LATEST_ABI } from "../../ffi/abi/abi.ts";
import { RULE_NAMES } from "../../kernels/sim/rules.ts";
import { planCases, type PlannedCase, runCase } from "./run_case.ts";
import { SimHost } from "./sim_host.ts";
import { CASES } from "./suite.ts";

const PLANNED = planCases(CASES, LATEST_ABI.version);

for (const planned of PLANNED) {
  Deno.test(`contract on sim: ${planned.title}`, async () => {
    const { contract_case, abi_version } = planned;
    const result = await runCase(planned, new SimHost(contract_case, { abi_version }));
    assertEquals([result.outcome, result.reason], ["ok", ""]);
  });
}

/** Cases that name a rule, run on a kernel without it: those that pass all the same. */
async function survivors(planned: readonly PlannedCase[]): Promise<string[]> {
  const found: string[] = [];
  for (const one of planned) {
    const { contract_case, abi_version, title } = one;
    const options = { abi_version, mutant: contract_case.rule };
    const result = await runCase(one, new SimHost(contract_case, options));
    // A case must say what is wrong, not stumble over it.
    const is_red = result.outcome === "FAIL" && !result.reason.startsWith("broken:");
    if (!is_red) found.push(`${title}: ${result.outcome} ${result.reason}`);
  }
  return found;
}

for (const rule of RULE_NAMES) {
  Deno.test(`contract on a sim without ${rule}: its cases turn red`, async () => {
    const planned = PLANNED.filter(({ contract_case }) => contract_case.rule === rule);
    assert(planned.some(({ contract_case }) => contract_case.negative === true), "a negative case");
    assertEquals(await survivors(planned), []);
  });
}

Deno.test("contract suite: a third of the cases are negative, and each of these names its rule", () => {
  const negative = CASES.filter((contract_case) => contract_case.negative === true);
  assert(negative.length * 3 >= CASES.length, `${negative.length} of ${CASES.length}`);
  assertEquals(negative.filter(({ rule }) => rule === undefined).map(({ name }) => name), []);
});

Deno.test("contract suite: no two cases have the same name", () => {
  const titles = PLANNED.map(({ title }) => title);
  assertEquals(titles.filter((title, index) => titles.indexOf(title) !== index), []);
});

Deno.test("contract suite: a step that throws and a case that stumbles are told from failures", async () => {
  const broken: [PlannedCase["contract_case"], string][] = [
    [{ name: "stumbles", cpu_count: 1, run: () => Promise.reject(new Error("oops")) }, "broken:"],
    [{
      name: "throws",
      cpu_count: 1,
      step: () => {
        throw new Error("in a step");
      },
      run: async (host) => {
        const { Lab } = await import("./lab.ts");
        await Lab.open(host);
      },
    }, "broken: in a step"],
  ];
  for (const [contract_case, text] of broken) {
    const [planned] = planCases([contract_case], LATEST_ABI.version);
    const result = await runCase(planned, new SimHost(contract_case));
    assertEquals(result.outcome, "FAIL");
    assert(result.reason.startsWith(text), result.reason);
  }
});

Deno.test("contract suite: what a kernel or a host lacks is a skip with its reason", async () => {
  const run = () => Promise.resolve();
  const lacking: [PlannedCase["contract_case"], string][] = [
    [
      { name: "old", cpu_count: 1, abi_versions: [69], requires: ["priority_changed"], run },
      "the kernel lacks priority_changed",
    ],
    [{ name: "other", cpu_count: 1, abi_versions: [84], run }, "the kernel speaks ABI 69"],
  ];
  for (const [contract_case, reason] of lacking) {
    const [planned] = planCases([contract_case], LATEST_ABI.version);
    const result = await runCase(planned, new SimHost(contract_case, { abi_version: 69 }));
    assertEquals([result.outcome, result.reason], ["skip", reason]);
  }
});
