/**
 * A process whose threads start other threads, which live a little and start others themselves;
 * for a test of who is found. It ends when its stdin does.
 *
 * @module
 */
import {
  fork,
  join,
  run,
  sleep,
  type ThreadKind,
  threadKind,
} from "../../experiments/load_steps.ts";
import { RealLoad } from "../../experiments/real_load.ts";

const MS = 1_000_000;

function generation(depth: number): ThreadKind {
  const rest = depth === 0 ? [sleep(60_000 * MS)] : [sleep(8 * MS), fork(generation(depth - 1), 2)];
  return threadKind(`forker${depth}`, run(100_000), ...rest, join());
}

const load = new RealLoad(generation(7), {
  join: () => 0,
  policy: -1,
  thread_capacity: 1024,
  cpu_mask: new Uint8Array(),
  seed: 1,
  timeout_ns: 60_000 * MS,
});
console.log("ready");
const reader = Deno.stdin.readable.getReader();
while (!(await reader.read()).done);
void load;
Deno.exit(0);
