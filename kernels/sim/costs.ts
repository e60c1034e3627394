/**
 * What operations cost on the simulated machine, in ns of virtual time. The defaults are the
 * figures of SOSP'21 Table 3 (Humphries et al., p. 596: two Xeon Platinum 8173M at 2 GHz, one value
 * per row; the rows are named behind each field).
 *
 * @module
 */

/** Costs in ns. */
export interface SimCosts {
  /** From the event to the first instruction of a woken local agent's step (row 1). */
  readonly message_local_ns: number;
  /** From the event until a spinning agent sees the message (row 2). */
  readonly message_global_ns: number;
  /** Local commit until the thread runs (row 3). */
  readonly local_schedule_ns: number;
  /** Remote commit: time the agent spends (row 4). */
  readonly remote_agent_ns: number;
  /** Remote commit: time the target CPU spends (row 5). */
  readonly remote_target_ns: number;
  /** Remote commit: end to end (row 6). */
  readonly remote_total_ns: number;
  /** Each further transaction of a group, agent side: (row 7 − row 4) / 9. */
  readonly group_agent_extra_ns: number;
  /** Each further transaction of a group, target side: (row 8 − row 5) / 9. */
  readonly group_target_extra_ns: number;
  /** Any other call into the kernel (row 10). */
  readonly syscall_ns: number;
  /** Context switch between default-class threads (row 12). */
  readonly default_switch_ns: number;
  /** A step that ends with AGAIN, before the next one starts; not in the table. */
  readonly again_ns: number;
  /** Time slice of the default class when threads compete; Linux's base slice, not in the table. */
  readonly default_slice_ns: number;
  /** Scheduler tick period (250 Hz), not in the table. */
  readonly tick_ns: number;
}

/** SOSP'21 Table 3. */
export const DEFAULT_COSTS: SimCosts = {
  message_local_ns: 725,
  message_global_ns: 265,
  local_schedule_ns: 888,
  remote_agent_ns: 668,
  remote_target_ns: 1064,
  remote_total_ns: 1772,
  group_agent_extra_ns: 366,
  group_target_extra_ns: 84,
  syscall_ns: 72,
  default_switch_ns: 599,
  again_ns: 100,
  default_slice_ns: 3_000_000,
  tick_ns: 4_000_000,
};
