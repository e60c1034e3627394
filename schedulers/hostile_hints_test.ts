/**
 * What an application that scribbles over its own PrioTable does to the threads of another one: its
 * agent lives, counts what it refuses, and gives the others their CPUs as soon as before; on sim.
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { SimHints } from "../experiments/shinjuku/sim_hints.ts";
import { run, type Script, sleep } from "../kernels/sim/actions.ts";
import type { SimKernel } from "../kernels/sim/sim_kernel.ts";
import { DEAD, type SimThread } from "../kernels/sim/thread.ts";
import { Prng } from "../lib/prng.ts";
import type { PolicyDefinition } from "../lib/policy.ts";
import type { HintSource } from "../shared/hint_source.ts";
import { SCHED_ITEM_RUNNABLE, WORK_CLASS_ONESHOT } from "../shared/prio_table.ts";
import { SimStage } from "../tests/fakes/sim_stage.ts";
import { edf } from "./edf/scheduler.ts";
import { shinjuku } from "./shinjuku/scheduler.ts";

const [US, MS] = [1_000, 1_000_000];
const CPU_COUNT = 4;
const GOOD_COUNT = 12;
const OTHER_COUNT = 4;
const ROUNDS = 300;
const RUN_NS = 50 * US;
const SLEEP_NS = 300 * US;
/** How often the other application writes, and how many words. */
const SCRIBBLE_NS = 20 * US;
const SCRIBBLE_WORDS = 64;
const DURATION_NS = 400 * MS;
const CLASSES = [{ flags: WORK_CLASS_ONESHOT, qos: 2, exectime_ns: RUN_NS }];

const POLICIES: Readonly<Record<string, (hints: HintSource) => PolicyDefinition>> = {
  shinjuku: (hints) => shinjuku({ global_cpu: 0, preemption_time_slice_ns: 30 * US, hints }),
  edf: (hints) => edf({ global_cpu: 0, ticks: false, hints }),
};

function* rounds(): Script {
  for (let round = 0; round < ROUNDS; round++) {
    yield sleep(SLEEP_NS);
    yield run(RUN_NS);
  }
}

/** Two applications on one machine. */
class TwoApplications {
  readonly stage: SimStage;
  readonly good: SimThread[] = [];
  readonly latencies_ns: number[] = [];
  #tables: SimHints[] = [];

  constructor(definePolicy: (hints: HintSource) => PolicyDefinition) {
    this.stage = new SimStage(CPU_COUNT, (kernel) => definePolicy(this.#source(kernel)));
    this.stage.machine.on_latency = (thread, latency_ns) => {
      if (this.good.includes(thread)) this.latencies_ns.push(latency_ns);
    };
    this.#spawn(0, GOOD_COUNT);
    this.#spawn(1, OTHER_COUNT);
  }

  #source({ memory }: SimKernel): HintSource {
    this.#tables = [GOOD_COUNT, OTHER_COUNT].map((count) => new SimHints(memory, count, CLASSES));
    return {
      tables: this.#tables.map(({ tables }) => tables[0]),
      indexOf: (lo, hi) => this.good.some((t) => t.gtid_lo === lo && t.gtid_hi === hi) ? 0 : 1,
      takeNews: () => false,
    };
  }

  #spawn(application: number, count: number): void {
    const { machine, enclave } = this.stage;
    for (let sid = 0; sid < count; sid++) {
      const thread = machine.spawn(rounds, `app ${application} thread ${sid}`);
      if (application === 0) this.good.push(thread);
      const fields = { flags: SCHED_ITEM_RUNNABLE, deadline_ns: MS };
      this.#tables[application].addThread(sid, thread, fields);
      enclave.join(thread.tid);
    }
  }

  /** The second application writes what it likes wherever it can, again and again. */
  scribble(random: Prng): void {
    const { words } = this.#tables[1];
    for (let n = 0; n < SCRIBBLE_WORDS; n++) {
      words[random.below(words.length)] = random.below(2 ** 32) | 0;
    }
    const { machine } = this.stage;
    machine.at(machine.now_ns + SCRIBBLE_NS, () => this.scribble(random));
  }

  /** What the agent has refused of the second application's table. */
  refusedCount(): number {
    const { counters } = this.#tables[1].tables[0];
    return Object.values(counters).reduce((sum, count) => sum + Number(count), 0);
  }

  p99Ns(): number {
    const sorted = this.latencies_ns.toSorted((a, b) => a - b);
    return sorted[Math.ceil(sorted.length * 0.99) - 1];
  }
}

for (const [name, definePolicy] of Object.entries(POLICIES)) {
  Deno.test(`${name}: an application that scribbles over its table harms no other one`, () => {
    const [peaceful, hostile] = [0, 1].map(() => new TwoApplications(definePolicy));
    peaceful.stage.pass(DURATION_NS);
    hostile.scribble(new Prng(1));
    hostile.stage.pass(DURATION_NS);
    for (const { good, latencies_ns } of [peaceful, hostile]) {
      assert(good.every((thread) => thread.state === DEAD));
      // Of each the first run, too.
      assertEquals(latencies_ns.length, GOOD_COUNT * (ROUNDS + 1));
    }
    assertEquals(peaceful.refusedCount(), 0);
    assertGreater(hostile.refusedCount(), 0);
    const [p99_ns, hostile_p99_ns] = [peaceful.p99Ns(), hostile.p99Ns()];
    assert(hostile_p99_ns <= 1.1 * p99_ns, `p99 ${hostile_p99_ns} ns, ${p99_ns} ns before`);
  });
}
