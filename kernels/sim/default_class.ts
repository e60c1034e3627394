/**
 * The default class: which CPU a woken thread of it waits on.
 *
 * @module
 */
import type { SimCpu, SimThread } from "./thread.ts";
import * as states from "./thread.ts";

// Own copy: V8 compiles a module's own constants in, and looks imported ones up at each use.
const { MODE_DEFAULT } = states;

/** The CPU a default-class thread waits on: its last one, else the least loaded. */
export function chooseDefaultCpu(cpus: readonly SimCpu[], thread: SimThread): SimCpu {
  const last = cpus[thread.cpu];
  if (last.online && thread.mayUse(last.id) && defaultLoad(last) === 0) return last;
  let best: SimCpu | null = null;
  for (const cpu of cpus) {
    if (!cpu.online || !thread.mayUse(cpu.id)) continue;
    if (best === null || defaultLoad(cpu) < defaultLoad(best)) best = cpu;
    if (defaultLoad(cpu) === 0) break;
  }
  return best ?? last;
}

function defaultLoad(cpu: SimCpu): number {
  return cpu.waiting.length + (cpu.mode === MODE_DEFAULT ? 1 : 0);
}
