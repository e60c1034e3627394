/**
 * What a native peer has counted, its broken invariants among it.
 *
 * @module
 */

/** Counters of a peer, in the order of `enum counter` in native/peer.h. */
export interface PeerReport {
  /** Tasks that have exited. */
  readonly gone_count: number;
  /** Times a task was on a CPU. */
  readonly run_count: number;
  /** Transactions that succeeded. */
  readonly commit_count: number;
  /** Transactions that were refused. */
  readonly refused_count: number;
  /** Those of them that were refused for no reason but the load's parameter. */
  readonly capricious_count: number;
  /** Agents that gave their CPU away because they had nothing to run. */
  readonly yield_count: number;
  /** Agents that were told to look again instead. */
  readonly stale_yield_count: number;
  /** Pings. */
  readonly ping_count: number;
  /** Messages dropped because a ring was full. */
  readonly overflow_count: number;
  /** Broken: a task was on two CPUs at once. */
  readonly double_run_count: number;
  /** Broken: transactions for tasks that the policy had to know could not run. */
  readonly policy_fault_count: number;
  /** Status words that were freed. */
  readonly freed_count: number;
  /** Messages sent, by type. */
  readonly message_counts: readonly number[];
  /** Longest time that a task which could run waited for a CPU, in ns. */
  readonly longest_wait_ns: number;
}

const COUNTERS = 12;
const MESSAGE_TYPES = 192;
/** Length of the array that the peer fills. */
export const PEER_REPORT_LENGTH: number = COUNTERS + MESSAGE_TYPES + 1;

/**
 * Names the numbers that a peer has written.
 *
 * @param values {@linkcode PEER_REPORT_LENGTH} numbers.
 */
export function peerReport(values: Float64Array): PeerReport {
  return {
    gone_count: values[0],
    run_count: values[1],
    commit_count: values[2],
    refused_count: values[3],
    capricious_count: values[4],
    yield_count: values[5],
    stale_yield_count: values[6],
    ping_count: values[7],
    overflow_count: values[8],
    double_run_count: values[9],
    policy_fault_count: values[10],
    freed_count: values[11],
    message_counts: Array.from(values.subarray(COUNTERS, COUNTERS + MESSAGE_TYPES)),
    longest_wait_ns: values[COUNTERS + MESSAGE_TYPES],
  };
}
