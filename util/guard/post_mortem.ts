/**
 * What a dead agent knew: the guard starts the executable once more, on the board of the agent that
 * was killed, and its policy's own dump is written from there. Kernel memory is gone by then; in
 * its place stands memory that is zero.
 *
 * @module
 */
import { abiOf } from "../../ffi/abi/abi.ts";
import {
  CPU_DATA_BYTES,
  QUEUE_NELEMS_WORD,
  QUEUE_START_WORD,
  STATUS_WORD_BYTES,
  SW_REGION_CAPACITY_WORD,
  SW_REGION_START_WORD,
} from "../../ffi/abi/constants.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { dumpAgents } from "../../kernels/agent_dump.ts";
import type { AgentPort } from "../../kernels/kernel.ts";
import { AgentContext } from "../../lib/agent_context.ts";
import { MAX_CPU_COUNT, MAX_STATUS_WORD_COUNT } from "../../lib/limits.ts";
import type { UsageError } from "../../lib/errors.ts";
import { DUMP_ALL_TASKS, DUMP_EMPTY_RUNQUEUES, type PolicyDefinition } from "../../lib/policy.ts";
import type { BoardView } from "./board.ts";

const HEADER_WORDS = 16;
const QUEUE_WORDS = 64;

/** A port to nothing. */
function deadPort(cpu: number): AgentPort {
  const nothing = (): number => 0;
  return {
    cpu,
    status_index: 0,
    nowNs: nothing,
    commit: nothing,
    commitGroup: nothing,
    commitSyncGroup: nothing,
    ping: nothing,
    cpuTimeNs: nothing,
    armTimer: nothing,
    localCommit: nothing,
    localYield: nothing,
    leave: nothing,
    associate: nothing,
    freeStatusWord: nothing,
  };
}

function emptyStatusWords(): Int32Array {
  const words = new Int32Array(HEADER_WORDS + MAX_STATUS_WORD_COUNT * STATUS_WORD_BYTES / 4);
  words[SW_REGION_START_WORD] = HEADER_WORDS * 4;
  words[SW_REGION_CAPACITY_WORD] = MAX_STATUS_WORD_COUNT;
  return words;
}

function emptyQueue(): Int32Array {
  const words = new Int32Array(QUEUE_WORDS);
  words[QUEUE_START_WORD] = HEADER_WORDS * 4;
  words[QUEUE_NELEMS_WORD] = 1;
  return words;
}

/**
 * The state that a dead agent has left.
 *
 * @param board Its board, as a copy; undefined if it has published none.
 * @param makePolicy Makes its policy for the CPUs of the enclave.
 * @returns Text of at most DUMP_BYTES_MAX bytes; empty if nothing was left.
 */
export function postMortem(
  board: BoardView | undefined,
  makePolicy: (cpus: readonly number[]) => PolicyDefinition | UsageError,
): string {
  const abi = board === undefined ? undefined : abiOf(board.facts.abi_version);
  if (board === undefined || abi === undefined) return "";
  const { state } = board;
  const policy = makePolicy(state.shape.cpus);
  if (!("layout" in policy) || state.shape.policy !== policy.name) return "";
  const maps = {
    abi,
    memory: HARDWARE_MEMORY,
    status_words: emptyStatusWords(),
    cpu_data: new Int32Array(MAX_CPU_COUNT * CPU_DATA_BYTES / 4),
    queue_words: emptyQueue(),
    queue_ids: state.shape.cpus.map((cpu) => policy.queues === "global" ? 1 : cpu + 1),
  };
  const view = (cpu: number): AgentContext => new AgentContext(deadPort(cpu), maps, state);
  return dumpAgents(policy, state, view, DUMP_ALL_TASKS | DUMP_EMPTY_RUNQUEUES);
}
