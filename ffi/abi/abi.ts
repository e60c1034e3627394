/**
 * One table per ghOSt ABI version: struct layouts, message types and control-file commands.
 * Code asks the table, so the differences between versions are data and not branches.
 * Source: reference of the ghOSt user ABI, sections 1.3, 1.7 and 2.3.
 *
 * @module
 */
import * as c from "./constants.ts";
import { layoutStruct, offsetOf, type StructLayout } from "./layout.ts";

/** The ABI versions this project speaks, oldest first. */
export const ABI_VERSIONS = [69, 84, 90, 91] as const;
/** An ABI version this project speaks. */
export type AbiVersion = (typeof ABI_VERSIONS)[number];

/** A message type of one ABI version. */
export interface MessageType {
  /** Name without the MSG_ prefix. */
  readonly name: string;
  /** Number in `ghost_msg.type`. */
  readonly type: number;
  /** Layout of the payload; undefined for NOP, which has none. */
  readonly payload: StructLayout | undefined;
}

/**
 * Offsets that message handlers need, in 32-bit words from the start of the payload, −1 where the
 * version has no such field. `*_flags` words hold two chars: `from_switchto` in byte 0 and
 * `was_latched` or `was_current` in byte 1.
 */
export interface MessageWords {
  /** TASK_NEW: gtid of the parent. */
  readonly new_parent_gtid: number;
  /** TASK_NEW: CPU time so far, in nanoseconds. */
  readonly new_runtime: number;
  /** TASK_NEW: whether the task is runnable. */
  readonly new_runnable: number;
  /** TASK_NEW: nice value. */
  readonly new_nice: number;
  /** TASK_NEW: region and index of the status word. */
  readonly new_sw_info: number;
  /** TASK_NEW: word that a BPF program set. */
  readonly new_agent_data: number;
  /** TASK_DEAD: CPU on which the task ran last. */
  readonly dead_cpu: number;
  /** CPU_TICK: whether an agent was running. */
  readonly tick_is_agent: number;
}

/** Words that are the same in every version (payload words, see {@linkcode MessageWords}). */
export const PAYLOAD = {
  gtid: 0,
  cpu: 0,
  runtime: 2,
  blocked_cpu: 6,
  blocked_flags: 7,
  preempt_cpu: 8,
  preempt_flags: 9,
  departed_cpu: 4,
  departed_flags: 5,
  wakeup_deferrable: 4,
  wakeup_last_ran_cpu: 5,
  wakeup_wake_up_cpu: 6,
  wakeup_waker_cpu: 7,
  switchto_cpu: 6,
  on_cpu_commit_time: 2,
  on_cpu_cpu: 6,
  priority_nice: 2,
  latch_failure_errno: 2,
  not_idle_next_gtid: 2,
  timer_type: 2,
  timer_cookie: 4,
} as const;

/** Everything that depends on the ABI version. */
export interface Abi {
  /** Version number, as the kernel's `version` file prints it. */
  readonly version: AbiVersion;
  /** Struct layouts by uapi name. */
  readonly structs: Readonly<Record<string, StructLayout>>;
  /** Message types by number. */
  readonly messages: ReadonlyMap<number, MessageType>;
  /** Payload word offsets for the message handlers. */
  readonly words: MessageWords;
  /** True if `become agent` takes the CPU and the kernel sets the agent's affinity (≥ 74). */
  readonly become_agent_takes_cpu: boolean;
  /** True if the `tasks` file accepts gtids as well as pids (≥ 70). */
  readonly tasks_accept_gtid: boolean;
  /** True if a failed sync group shows the failure in every member (< 73). */
  readonly sync_group_fails_whole: boolean;
  /** Names of the enclave's tunable files. */
  readonly tunables: readonly string[];
  /** errno of SW_GET_INFO for a CPU out of range: ENODEV in 69, EINVAL later. */
  readonly bad_cpu_errno: number;
}

/** The command that creates an enclave, for the top-level `ctl` file. */
export function createCommand(id: number, abi: AbiVersion): string {
  return `create ${id} ${abi}`;
}

/** The command that makes the calling thread an agent, for the enclave's `ctl` file. */
export function becomeAgentCommand(abi: Abi, cpu: number, queue_fd: number): string {
  return abi.become_agent_takes_cpu
    ? `become agent ${cpu} ${queue_fd}`
    : `become agent ${queue_fd}`;
}

/** The command that creates a status word region, for the enclave's `ctl` file. */
export function createSwRegionCommand(id: number, numa_node: number): string {
  return `create sw_region ${id} ${numa_node}`;
}

// Commands of the enclave's `ctl` file that have no argument.

/** Asks for a TASK_NEW for every task of the enclave. */
export const DISCOVER_TASKS_COMMAND = "discover tasks";
/** Forbids the calling process to load BPF programs from now on. */
export const DISABLE_BPF_PROG_LOAD_COMMAND = "disable my bpf_prog_load";
/** Destroys the enclave. */
export const DESTROY_COMMAND = "destroy";

const GTID_RUNTIME_SEQ = "gtid:u64 runtime:u64 cpu_seqnum:u64";

/** Payload field lists: [struct suffix, message type, first version, fields]; later rows win. */
const PAYLOADS: readonly (readonly [string, number, number, string])[] = [
  ["task_dead", c.MSG_TASK_DEAD, 69, "gtid:u64"],
  ["task_dead", c.MSG_TASK_DEAD, 90, "gtid:u64 cpu:i32"],
  ["task_blocked", c.MSG_TASK_BLOCKED, 69, `${GTID_RUNTIME_SEQ} cpu:i32 from_switchto:i8`],
  [
    "task_wakeup",
    c.MSG_TASK_WAKEUP,
    69,
    "gtid:u64 agent_data:u64 deferrable:i8 last_ran_cpu:i32 wake_up_cpu:i32 waker_cpu:i32",
  ],
  ["task_new", c.MSG_TASK_NEW, 69, "gtid:u64 runtime:u64 runnable:u16 sw_info:ghost_sw_info"],
  [
    "task_new",
    c.MSG_TASK_NEW,
    84,
    "gtid:u64 parent_gtid:u64 runtime:u64 runnable:u16 nice:i32 sw_info:ghost_sw_info",
  ],
  [
    "task_new",
    c.MSG_TASK_NEW,
    90,
    "gtid:u64 parent_gtid:u64 runtime:u64 runnable:u16 nice:i32 sw_info:ghost_sw_info " +
    "agent_data:u64",
  ],
  [
    "task_preempt",
    c.MSG_TASK_PREEMPT,
    69,
    `${GTID_RUNTIME_SEQ} agent_data:u64 cpu:i32 from_switchto:i8 was_latched:i8`,
  ],
  [
    "task_yield",
    c.MSG_TASK_YIELD,
    69,
    `${GTID_RUNTIME_SEQ} agent_data:u64 cpu:i32 from_switchto:i8`,
  ],
  [
    "task_departed",
    c.MSG_TASK_DEPARTED,
    69,
    "gtid:u64 cpu_seqnum:u64 cpu:i32 from_switchto:i8 was_current:i8",
  ],
  ["task_switchto", c.MSG_TASK_SWITCHTO, 69, `${GTID_RUNTIME_SEQ} cpu:i32`],
  ["task_affinity_changed", c.MSG_TASK_AFFINITY_CHANGED, 69, "gtid:u64"],
  [
    "task_latched",
    c.MSG_TASK_ON_CPU,
    69,
    "gtid:u64 commit_time:u64 cpu_seqnum:u64 cpu:i32 latched_preempt:i8",
  ],
  ["task_on_cpu", c.MSG_TASK_ON_CPU, 84, "gtid:u64 commit_time:u64 cpu_seqnum:u64 cpu:i32"],
  ["task_priority_changed", c.MSG_TASK_PRIORITY_CHANGED, 84, "gtid:u64 nice:i32"],
  ["task_latch_failure", c.MSG_TASK_LATCH_FAILURE, 84, "gtid:u64 errno:i32"],
  ["cpu_tick", c.MSG_CPU_TICK, 69, "cpu:i32"],
  ["cpu_tick", c.MSG_CPU_TICK, 90, "cpu:i32 is_agent:i32"],
  ["timer", c.MSG_CPU_TIMER_EXPIRED, 69, "cpu:i32 type:u64 cookie:u64"],
  ["cpu_not_idle", c.MSG_CPU_NOT_IDLE, 69, "cpu:i32 next_gtid:u64"],
  ["cpu_available", c.MSG_CPU_AVAILABLE, 84, "cpu:i32"],
  ["cpu_busy", c.MSG_CPU_BUSY, 84, "cpu:i32"],
  ["agent_blocked", c.MSG_CPU_AGENT_BLOCKED, 84, "cpu:i32"],
  ["agent_wakeup", c.MSG_CPU_AGENT_WAKEUP, 84, "cpu:i32"],
];

/** Message names that do not follow from the payload's name. */
const MESSAGE_NAMES: Readonly<Record<string, string>> = {
  timer: "CPU_TIMER_EXPIRED",
  agent_blocked: "CPU_AGENT_BLOCKED",
  agent_wakeup: "CPU_AGENT_WAKEUP",
};

/** Members of the union in `bpf_ghost_msg`, in the header's order: [member, payload]. */
const BPF_MESSAGE_UNION: readonly (readonly [string, string])[] = [
  ["dead", "task_dead"],
  ["blocked", "task_blocked"],
  ["wakeup", "task_wakeup"],
  ["newt", "task_new"],
  ["preempt", "task_preempt"],
  ["yield", "task_yield"],
  ["departed", "task_departed"],
  ["switchto", "task_switchto"],
  ["affinity", "task_affinity_changed"],
  ["priority", "task_priority_changed"],
  ["latched", "task_latched"],
  ["on_cpu", "task_on_cpu"],
  ["latch_failure", "task_latch_failure"],
  ["cpu_tick", "cpu_tick"],
  ["timer", "timer"],
  ["cpu_not_idle", "cpu_not_idle"],
  ["cpu_available", "cpu_available"],
  ["cpu_busy", "cpu_busy"],
  ["agent_blocked", "agent_blocked"],
  ["agent_wakeup", "agent_wakeup"],
];

/** Structs that are the same in every version: [name, fields, forced alignment]. */
const COMMON_STRUCTS: readonly (readonly [string, string, number?])[] = [
  ["ghost_agent_wakeup", "cpu:i32 prio:i32"],
  ["ghost_msg_src", "type:u32 arg:u64"],
  ["timerfd_ghost", "cpu:i32 flags:i32 type:u64 cookie:u64"],
  ["ghost_sw_info", "id:u32 index:u32"],
  ["ghost_ioc_sw_get_info", "request:ghost_msg_src response:ghost_sw_info"],
  ["ghost_ioc_create_queue", "elems:i32 node:i32 flags:i32 mapsize:u64"],
  ["ghost_ioc_set_default_queue", "fd:i32"],
  ["ghost_ioc_config_queue_wakeup", "qfd:i32 w:ptr ninfo:i32 flags:i32"],
  ["ghost_ioc_get_cpu_time", "gtid:i64 runtime:u64"],
  ["ghost_ioc_commit_txn", "mask_ptr:ptr mask_len:u32 flags:i32"],
  [
    "ghost_ioc_timerfd_settime",
    "timerfd:i32 flags:i32 in_tmr:ptr out_tmr:ptr timerfd_ghost:timerfd_ghost",
  ],
  [
    "ghost_ioc_run",
    "gtid:i64 agent_barrier:u32 task_barrier:u32 run_cpu:i32 run_flags:i32",
  ],
  [
    "ghost_sw_region_header",
    "version:u32 id:u32 numa_node:u32 start:u32 capacity:u32 available:u32",
    64,
  ],
  ["ghost_status_word", "barrier:u32 flags:u32 gtid:u64 switch_time:i64 runtime:u64", 32],
  ["ghost_queue_header", "version:u32 start:u32 nelems:u32", 64],
  ["ghost_msg", "type:u16 length:u16 seqnum:u32 payload:u32[0]"],
  ["ghost_ring", "head:u32 tail:u32 overflow:u32 msgs:ghost_msg[0]"],
  [
    "ghost_txn",
    "version:i32 cpu:i32 state:i32 agent_barrier:u32 task_barrier:u32 run_flags:u16 " +
    "commit_flags:u8 unused:u8 gtid:i64 commit_time:i64 cpu_seqnum:u64 sync_group_owner:i32",
    64,
  ],
  ["ghost_cpu_data", "txn:ghost_txn", 4096],
];

/** Structs that came with a later version: [first version, name, fields]. */
const LATER_STRUCTS: readonly (readonly [number, string, string])[] = [
  [
    84,
    "bpf_ghost_sched",
    "agent_on_rq:u8 agent_runnable:u8 might_yield:u8 dont_idle:u8 must_resched:u8 next_gtid:u64",
  ],
  [
    84,
    "bpf_ghost_select_rq",
    "gtid:u64 task_cpu:u32 waker_cpu:u32 sd_flag:u32 wake_flags:u32 skip_ttwu_queue:u8",
  ],
  [84, "bpf_ghost_halt_poll", "type:u32"],
  [
    90,
    "bpf_sync_commit_args",
    "cpus:i32[2] gtids:u64[2] task_barriers:u32[2] run_flags:i32[2] commit_flags:i32[2]",
  ],
];

function buildStructs(version: AbiVersion): Record<string, StructLayout> {
  const structs: Record<string, StructLayout> = {};
  for (const [name, spec, align] of COMMON_STRUCTS) {
    structs[name] = layoutStruct(name, spec, structs, { align });
  }
  const barrier = version === 69 ? "i32" : "u32";
  structs["ghost_ioc_assoc_queue"] = layoutStruct(
    "ghost_ioc_assoc_queue",
    `fd:i32 src:ghost_msg_src barrier:${barrier} flags:i32`,
    structs,
  );
  for (const [since, name, spec] of LATER_STRUCTS) {
    if (version >= since) structs[name] = layoutStruct(name, spec, structs);
  }
  return structs;
}

function addMessages(version: AbiVersion, structs: Record<string, StructLayout>) {
  const messages = new Map<number, MessageType>();
  messages.set(c.MSG_NOP, { name: "NOP", type: c.MSG_NOP, payload: undefined });
  for (const [suffix, type, since, spec] of PAYLOADS) {
    if (version < since) continue;
    const name = `ghost_msg_payload_${suffix}`;
    const previous = messages.get(type)?.payload;
    if (previous !== undefined) delete structs[previous.name];
    structs[name] = layoutStruct(name, spec, structs);
    const message = MESSAGE_NAMES[suffix] ?? suffix.toUpperCase();
    messages.set(type, { name: message, type, payload: structs[name] });
  }
  const members = BPF_MESSAGE_UNION.filter(([, payload]) =>
    structs[`ghost_msg_payload_${payload}`] !== undefined
  );
  const union = members.map(([name, payload]) => `${name}:ghost_msg_payload_${payload}`).join(" ");
  const body = layoutStruct("bpf_ghost_msg_body", union, structs, { union: true });
  const known = { ...structs, body };
  const tail = version === 69 ? "" : " pref_cpu:i32";
  const whole = layoutStruct("bpf_ghost_msg", `body:body type:u16 seqnum:u32${tail}`, known);
  const fields = [...body.fields, ...whole.fields.filter((field) => field.name !== "body")];
  structs["bpf_ghost_msg"] = { ...whole, fields };
  return messages;
}

function word(layout: StructLayout | undefined, field: string): number {
  const offset = offsetOf(layout, field);
  return offset < 0 ? -1 : offset >> 2;
}

function buildAbi(version: AbiVersion): Abi {
  const structs = buildStructs(version);
  const messages = addMessages(version, structs);
  const fresh = structs["ghost_msg_payload_task_new"];
  const words: MessageWords = {
    new_parent_gtid: word(fresh, "parent_gtid"),
    new_runtime: word(fresh, "runtime"),
    new_runnable: word(fresh, "runnable"),
    new_nice: word(fresh, "nice"),
    new_sw_info: word(fresh, "sw_info"),
    new_agent_data: word(fresh, "agent_data"),
    dead_cpu: word(structs["ghost_msg_payload_task_dead"], "cpu"),
    tick_is_agent: word(structs["ghost_msg_payload_cpu_tick"], "is_agent"),
  };
  const modern = version >= 84;
  return {
    version,
    structs,
    messages,
    words,
    become_agent_takes_cpu: modern,
    tasks_accept_gtid: modern,
    sync_group_fails_whole: !modern,
    tunables: [
      "commit_at_tick",
      "deliver_ticks",
      ...(modern ? ["deliver_cpu_availability", "deliver_agent_runnability"] : []),
      "live_dangerously",
      "runnable_timeout",
      "switchto_disabled",
      "wake_on_waker_cpu",
    ],
    bad_cpu_errno: modern ? 22 : 19,
  };
}

// Built when asked for: all four at the start would cost every program 3 MB and a millisecond.
const TABLES = new Map<number, Abi>();

function tableOf(version: AbiVersion): Abi {
  let abi = TABLES.get(version);
  if (abi === undefined) {
    abi = buildAbi(version);
    TABLES.set(version, abi);
  }
  return abi;
}

/**
 * The table of one ABI version.
 *
 * @param version ABI version.
 * @returns The table, or undefined if this project does not speak that version.
 */
export function abiOf(version: number): Abi | undefined {
  const known = ABI_VERSIONS.find((each) => each === version);
  return known === undefined ? undefined : tableOf(known);
}

/** The newest ABI version this project speaks. */
export const LATEST_ABI: Abi = tableOf(91);

/**
 * The newest version that both sides speak.
 *
 * @param offered Versions the kernel prints in its `version` file.
 * @returns The table, or undefined if there is no common version.
 */
export function bestCommonAbi(offered: readonly number[]): Abi | undefined {
  const common = ABI_VERSIONS.filter((version) => offered.includes(version));
  return abiOf(Math.max(...common));
}
