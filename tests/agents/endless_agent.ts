/**
 * An agent whose load does not end for minutes: for tests of signals.
 *
 * @module
 */
import type { Load } from "../../experiments/load.ts";
import { run, sleep } from "../../kernels/sim/actions.ts";
import { FIFO_PER_CPU_AGENT } from "../../schedulers/fifo/per_cpu/agent.ts";
import { agentMain } from "../../util/agent_main.ts";

const ENDLESS: Load = {
  name: "endless",
  summary: "a quick sub-test, then one that does not end for minutes",
  sub_tests: [
    {
      name: "Quick",
      thread_count: 0,
      main: function* () {
        yield run(1_000);
      },
    },
    {
      name: "Endless",
      thread_count: 1,
      main: function* (self) {
        self.enterGhost();
        for (;;) {
          yield run(1_000);
          yield sleep(1_000);
        }
      },
    },
  ],
};

const PROGRAM = { ...FIFO_PER_CPU_AGENT, name: "endless_agent", workloads: [ENDLESS] };

Deno.exit(await agentMain(PROGRAM, Deno.args));
