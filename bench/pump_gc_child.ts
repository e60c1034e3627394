/**
 * Sends messages through the shipped policy's own step, in a process of its own whose V8 traces
 * collections and deoptimisations. A line "WARM" on stdout parts the warm-up from the rest.
 * Arguments: messages of the warm-up, 0 for the one that an agent has; messages that count; and the
 * policy.
 *
 * @module
 */
import { LATEST_ABI } from "../ffi/abi/abi.ts";
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { loadShim } from "../ffi/shim.ts";
import { PeerAgentPort } from "../kernels/peer/peer_port.ts";
import { DryRun, type DryRunOptions, emptyYoungGeneration, warmUp } from "../lib/warm_up.ts";
import type { PolicyDefinition } from "../lib/policy.ts";
import { edf } from "../schedulers/edf/scheduler.ts";
import { fifoCentralized } from "../schedulers/fifo/centralized/scheduler.ts";
import { FIFO_PER_CPU } from "../schedulers/fifo/per_cpu/scheduler.ts";
import { shinjuku } from "../schedulers/shinjuku/scheduler.ts";
import { sol } from "../schedulers/sol/scheduler.ts";
import { makeHintRegistry } from "../shared/hint_registry.ts";
import { PUMP_NATIVE } from "./pump_native.ts";

const CHUNK_MESSAGES = 100_000;
/** Lost messages are rare on a real machine; repairing them allocates a little. */
const OVERFLOW_INTERVAL = 1 << 20;

const SLICE = { global_cpu: 1, preemption_time_slice_ns: 30_000 };
const POLICIES: Readonly<Record<string, () => PolicyDefinition>> = {
  fifo_per_cpu: () => FIFO_PER_CPU,
  fifo_centralized: () => fifoCentralized(SLICE),
  sol: () => sol(SLICE),
  shinjuku: () => shinjuku({ ...SLICE, hint_registry: makeHintRegistry() }),
  edf: () => edf({ global_cpu: 1, ticks: false, hint_registry: makeHintRegistry() }),
};

const [warm_up_count, message_count] = Deno.args.slice(0, 2).map(Number);
const policy = POLICIES[Deno.args[2]]();
const { clockMonotonicNs } = loadShim();

const OPTIONS: DryRunOptions = {
  abi: LATEST_ABI,
  memory: HARDWARE_MEMORY,
  policy,
  cpus: [0, 1, 2, 3],
  cpu: 1,
  dryPort: PeerAgentPort.dry,
};

/** In pieces, so that no frame stays in code of an early tier. */
function runMessages(run: DryRun, count: number): void {
  for (let sent = 0; sent < count; sent += CHUNK_MESSAGES) run.run(CHUNK_MESSAGES);
}

/** V8 writes its traces through the C library's buffers, we do not: they go first. */
function say(text: string): void {
  PUMP_NATIVE.pump_flush();
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

if (warm_up_count === 0) warmUp(OPTIONS, clockMonotonicNs);
else runMessages(new DryRun(OPTIONS), warm_up_count);
const run = new DryRun({ ...OPTIONS, overflow_interval: OVERFLOW_INTERVAL });
if (warm_up_count > 0) runMessages(run, CHUNK_MESSAGES);
emptyYoungGeneration();
say("WARM");
const sent_count = run.kernel.message_count;
const begin_ns = clockMonotonicNs();
runMessages(run, message_count);
const duration_ns = clockMonotonicNs() - begin_ns;
say("DONE");
say(JSON.stringify({
  step_message_ns: duration_ns / (run.kernel.message_count - sent_count),
  message_count: run.kernel.message_count - sent_count,
  has_shown_all: run.kernel.hasShownAll(),
}));
