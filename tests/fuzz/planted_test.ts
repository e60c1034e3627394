import { assert, assertEquals } from "@std/assert";
import { makePlan } from "./plan.ts";
import { plant, PLANTED } from "./planted.ts";
import { runPlan } from "./run.ts";

const SEEDS_MAX = 200;
/** Seeds of the control: enough that a check that cries wolf would be heard. */
const CONTROL_SEEDS = 60;

/** The first seed that finds a planted bug, and what broke. */
function find(name: string): { seed: number; failure: string } | null {
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const plan = makePlan(seed, { policy: "fifo_per_cpu" });
    const { failure } = runPlan(plan, { variant: plant(name) });
    if (failure !== null) return { seed, failure };
  }
  return null;
}

for (const [name, { what }] of Object.entries(PLANTED)) {
  Deno.test(`the fuzzer finds a planted bug within ${SEEDS_MAX} seeds: ${what}`, () => {
    const found = find(name);
    assert(found !== null, `${name} was not found`);
    console.log(`${name}: seed ${found.seed}: ${found.failure.split("\n")[0]}`);
  });
}

Deno.test(`without a planted bug ${CONTROL_SEEDS} seeds find nothing`, () => {
  for (let seed = 1; seed <= CONTROL_SEEDS; seed++) {
    const { failure } = runPlan(makePlan(seed, { policy: "fifo_per_cpu" }));
    assertEquals(failure, null, `seed ${seed}`);
  }
});
