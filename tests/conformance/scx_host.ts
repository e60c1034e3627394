/**
 * sched_ext on this host under the contract suite: the same threads and agents as on a ghOSt
 * kernel, other ways to what the suite needs beside the contract.
 *
 * @module
 */
import { ACTOR_JOIN_SCX, joinScxArgument } from "../../ffi/actor.ts";
import { loadScx } from "../../ffi/scx.ts";
import type { MappedEnclave } from "../../kernels/agent_spec.ts";
import { ScxKernel } from "../../kernels/scx/scx_kernel.ts";
import { SCX_WORD_COUNT } from "../../kernels/scx/scx_layout.ts";
import { OperatingError } from "../../lib/errors.ts";
import { gtidHi } from "../../lib/gtid.ts";
import { AgentWorkers } from "./agent_workers.ts";
import { GhostContractHost, type SuiteAccess } from "./ghost_host.ts";
import type { ContractHost } from "./host.ts";
import type { PlannedCase } from "./run_case.ts";
import { scxSkip } from "./scx_skips.ts";

/** Place of the start time, in clock ticks, behind the name in /proc/TID/stat. */
const START_TIME_FIELD = 19;
/** Enough for a handful of threads, and no more. */
const SMALL_CAPACITY = 8;
const MASK_WORDS = 16;

/** Of all cases. */
const WORKERS = new AgentWorkers(true);

/** How the suite uses the scx program. */
export function scxAccess(kernel: ScxKernel): SuiteAccess {
  const control_fd = kernel.program.fd("ghost_control");
  return {
    unusable: [],
    workers: WORKERS,
    gtidOf: (tid) => {
      const stat = Deno.readTextFileSync(`/proc/${tid}/stat`);
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const ticks = Number(fields[START_TIME_FIELD]);
      return [ticks | 0, gtidHi(tid, ticks)];
    },
    joinOperation: (id) => [ACTOR_JOIN_SCX, joinScxArgument(control_fd, id - 1)],
    commitFromOutside: ({ port_handles: { commit_fd, enclave } }: MappedEnclave, cpu) => {
      const mask = new Int32Array(MASK_WORDS);
      mask[cpu >> 5] = 1 << (cpu & 31);
      loadScx().commitOutside(commit_fd, enclave, mask);
    },
    close: () => {},
  };
}

/** A host that can have enclaves of few status words. */
class ScxContractHost extends GhostContractHost {
  override has(feature: Parameters<ContractHost["has"]>[0]): boolean {
    return feature === "small_status_region";
  }
}

let opened: ScxKernel | undefined;

/** The kernel of all cases: the program is loaded again only if a case has ended it. */
async function sharedKernel(): Promise<ScxKernel | OperatingError> {
  if (opened?.program.isLoaded()) return opened;
  opened?.close();
  const kernel = await ScxKernel.open({ allows_relatives: true });
  opened = kernel instanceof OperatingError ? undefined : kernel;
  return kernel;
}

/**
 * Whether the suite can run under sched_ext here: loads the program.
 *
 * @returns Why not, or undefined.
 */
export async function scxSuiteFault(): Promise<OperatingError | undefined> {
  const kernel = await sharedKernel();
  return kernel instanceof OperatingError ? kernel : undefined;
}

/**
 * The host of a case.
 *
 * @param planned The case.
 * @returns The host, or why there is none.
 */
export async function openScxHost(
  { contract_case }: PlannedCase,
): Promise<ContractHost | string> {
  const { name, cpu_count, needs = [] } = contract_case;
  const reason = scxSkip(name);
  if (reason !== undefined) return reason;
  const is_small = needs.includes("small_status_region");
  const kernel = await sharedKernel();
  if (kernel instanceof OperatingError) return kernel.message;
  if (cpu_count > GhostContractHost.cpuCountMax(kernel)) return `needs ${cpu_count + 1} CPUs`;
  kernel.status_word_capacity = is_small ? SMALL_CAPACITY : SCX_WORD_COUNT;
  return new ScxContractHost(contract_case, kernel, scxAccess(kernel));
}
