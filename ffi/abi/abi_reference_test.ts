import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  ABI_VERSIONS,
  abiOf,
  type AbiVersion,
  becomeAgentCommand,
  bestCommonAbi,
  createCommand,
  createSwRegionCommand,
  DESTROY_COMMAND,
  DISABLE_BPF_PROG_LOAD_COMMAND,
  DISCOVER_TASKS_COMMAND,
  LATEST_ABI,
  PAYLOAD,
} from "./abi.ts";
import * as c from "./constants.ts";
import { layoutStruct, offsetOf, type StructLayout } from "./layout.ts";

/**
 * The numbers of the reference, section 1.3, written down: "struct versions size align", then
 * "field@offset:bytes" in declaration order. Measured there on the uapi headers with a compiler;
 * a flexible array has 0 bytes. `ghost_txn.u` is called by its only member here.
 */
const REFERENCE_LAYOUTS = `
ghost_agent_wakeup 69/84/90/91 size 8 align 4
  cpu@0:4 prio@4:4
ghost_msg_src 69/84/90/91 size 16 align 8
  type@0:4 arg@8:8
timerfd_ghost 69/84/90/91 size 24 align 8
  cpu@0:4 flags@4:4 type@8:8 cookie@16:8
ghost_sw_info 69/84/90/91 size 8 align 4
  id@0:4 index@4:4
ghost_ioc_sw_get_info 69/84/90/91 size 24 align 8
  request@0:16 response@16:8
ghost_ioc_create_queue 69/84/90/91 size 24 align 8
  elems@0:4 node@4:4 flags@8:4 mapsize@16:8
ghost_ioc_assoc_queue 69 size 32 align 8
  fd@0:4 src@8:16 barrier@24:4 flags@28:4
ghost_ioc_assoc_queue 84/90/91 size 32 align 8
  fd@0:4 src@8:16 barrier@24:4 flags@28:4
ghost_ioc_set_default_queue 69/84/90/91 size 4 align 4
  fd@0:4
ghost_ioc_config_queue_wakeup 69/84/90/91 size 24 align 8
  qfd@0:4 w@8:8 ninfo@16:4 flags@20:4
ghost_ioc_get_cpu_time 69/84/90/91 size 16 align 8
  gtid@0:8 runtime@8:8
ghost_ioc_commit_txn 69/84/90/91 size 16 align 8
  mask_ptr@0:8 mask_len@8:4 flags@12:4
ghost_ioc_timerfd_settime 69/84/90/91 size 48 align 8
  timerfd@0:4 flags@4:4 in_tmr@8:8 out_tmr@16:8 timerfd_ghost@24:24
ghost_ioc_run 69/84/90/91 size 24 align 8
  gtid@0:8 agent_barrier@8:4 task_barrier@12:4 run_cpu@16:4 run_flags@20:4
ghost_sw_region_header 69/84/90/91 size 64 align 64
  version@0:4 id@4:4 numa_node@8:4 start@12:4 capacity@16:4 available@20:4
ghost_status_word 69/84/90/91 size 32 align 32
  barrier@0:4 flags@4:4 gtid@8:8 switch_time@16:8 runtime@24:8
ghost_queue_header 69/84/90/91 size 64 align 64
  version@0:4 start@4:4 nelems@8:4
ghost_msg 69/84/90/91 size 8 align 4
  type@0:2 length@2:2 seqnum@4:4 payload@8:0
ghost_msg_payload_task_new 69 size 32 align 8
  gtid@0:8 runtime@8:8 runnable@16:2 sw_info@20:8
ghost_msg_payload_task_new 84 size 40 align 8
  gtid@0:8 parent_gtid@8:8 runtime@16:8 runnable@24:2 nice@28:4 sw_info@32:8
ghost_msg_payload_task_new 90/91 size 48 align 8
  gtid@0:8 parent_gtid@8:8 runtime@16:8 runnable@24:2 nice@28:4 sw_info@32:8 agent_data@40:8
ghost_msg_payload_task_preempt 69/84/90/91 size 40 align 8
  gtid@0:8 runtime@8:8 cpu_seqnum@16:8 agent_data@24:8 cpu@32:4 from_switchto@36:1
  was_latched@37:1
ghost_msg_payload_task_yield 69/84/90/91 size 40 align 8
  gtid@0:8 runtime@8:8 cpu_seqnum@16:8 agent_data@24:8 cpu@32:4 from_switchto@36:1
ghost_msg_payload_task_blocked 69/84/90/91 size 32 align 8
  gtid@0:8 runtime@8:8 cpu_seqnum@16:8 cpu@24:4 from_switchto@28:1
ghost_msg_payload_task_dead 69/84 size 8 align 8
  gtid@0:8
ghost_msg_payload_task_dead 90/91 size 16 align 8
  gtid@0:8 cpu@8:4
ghost_msg_payload_task_departed 69/84/90/91 size 24 align 8
  gtid@0:8 cpu_seqnum@8:8 cpu@16:4 from_switchto@20:1 was_current@21:1
ghost_msg_payload_task_affinity_changed 69/84/90/91 size 8 align 8
  gtid@0:8
ghost_msg_payload_task_wakeup 69/84/90/91 size 32 align 8
  gtid@0:8 agent_data@8:8 deferrable@16:1 last_ran_cpu@20:4 wake_up_cpu@24:4 waker_cpu@28:4
ghost_msg_payload_task_switchto 69/84/90/91 size 32 align 8
  gtid@0:8 runtime@8:8 cpu_seqnum@16:8 cpu@24:4
ghost_msg_payload_task_latched 69 size 32 align 8
  gtid@0:8 commit_time@8:8 cpu_seqnum@16:8 cpu@24:4 latched_preempt@28:1
ghost_msg_payload_cpu_not_idle 69/84/90/91 size 16 align 8
  cpu@0:4 next_gtid@8:8
ghost_msg_payload_cpu_tick 69/84 size 4 align 4
  cpu@0:4
ghost_msg_payload_cpu_tick 90/91 size 8 align 4
  cpu@0:4 is_agent@4:4
ghost_msg_payload_timer 69/84/90/91 size 24 align 8
  cpu@0:4 type@8:8 cookie@16:8
bpf_ghost_msg 69 size 48 align 8
  dead@0:8 blocked@0:32 wakeup@0:32 newt@0:32 preempt@0:40 yield@0:40 departed@0:24
  switchto@0:32 affinity@0:8 latched@0:32 cpu_tick@0:4 timer@0:24 cpu_not_idle@0:16 type@40:2
  seqnum@44:4
bpf_ghost_msg 84 size 56 align 8
  dead@0:8 blocked@0:32 wakeup@0:32 newt@0:40 preempt@0:40 yield@0:40 departed@0:24
  switchto@0:32 affinity@0:8 priority@0:16 on_cpu@0:32 latch_failure@0:16 cpu_tick@0:4
  timer@0:24 cpu_not_idle@0:16 cpu_available@0:4 cpu_busy@0:4 agent_blocked@0:4 agent_wakeup@0:4
  type@40:2 seqnum@44:4 pref_cpu@48:4
bpf_ghost_msg 90/91 size 64 align 8
  dead@0:16 blocked@0:32 wakeup@0:32 newt@0:48 preempt@0:40 yield@0:40 departed@0:24
  switchto@0:32 affinity@0:8 priority@0:16 on_cpu@0:32 latch_failure@0:16 cpu_tick@0:8
  timer@0:24 cpu_not_idle@0:16 cpu_available@0:4 cpu_busy@0:4 agent_blocked@0:4 agent_wakeup@0:4
  type@48:2 seqnum@52:4 pref_cpu@56:4
ghost_ring 69/84/90/91 size 12 align 4
  head@0:4 tail@4:4 overflow@8:4 msgs@12:0
ghost_txn 69/84/90/91 size 64 align 64
  version@0:4 cpu@4:4 state@8:4 agent_barrier@12:4 task_barrier@16:4 run_flags@20:2
  commit_flags@22:1 unused@23:1 gtid@24:8 commit_time@32:8 cpu_seqnum@40:8 sync_group_owner@48:4
ghost_cpu_data 69/84/90/91 size 4096 align 4096
  txn@0:64
ghost_msg_payload_task_priority_changed 84/90/91 size 16 align 8
  gtid@0:8 nice@8:4
ghost_msg_payload_task_on_cpu 84/90/91 size 32 align 8
  gtid@0:8 commit_time@8:8 cpu_seqnum@16:8 cpu@24:4
ghost_msg_payload_task_latch_failure 84/90/91 size 16 align 8
  gtid@0:8 errno@8:4
ghost_msg_payload_cpu_available 84/90/91 size 4 align 4
  cpu@0:4
ghost_msg_payload_cpu_busy 84/90/91 size 4 align 4
  cpu@0:4
ghost_msg_payload_agent_blocked 84/90/91 size 4 align 4
  cpu@0:4
ghost_msg_payload_agent_wakeup 84/90/91 size 4 align 4
  cpu@0:4
bpf_ghost_sched 84/90/91 size 16 align 8
  agent_on_rq@0:1 agent_runnable@1:1 might_yield@2:1 dont_idle@3:1 must_resched@4:1
  next_gtid@8:8
bpf_ghost_select_rq 84/90/91 size 32 align 8
  gtid@0:8 task_cpu@8:4 waker_cpu@12:4 sd_flag@16:4 wake_flags@20:4 skip_ttwu_queue@24:1
bpf_ghost_halt_poll 84/90/91 size 4 align 4
  type@0:4
bpf_sync_commit_args 90/91 size 48 align 8
  cpus@0:8 gtids@8:16 task_barriers@24:8 run_flags@32:8 commit_flags@40:8
`;

/** The table in the reference's notation. */
function describe(layout: StructLayout): string {
  const fields = layout.fields.map((field) => `${field.name}@${field.offset}:${field.size}`);
  return `size ${layout.size} align ${layout.align} ${fields.join(" ")}`;
}

/** The reference's structs of one version, by name. */
function referenceOf(version: AbiVersion): Map<string, string> {
  const structs = new Map<string, string>();
  for (const row of REFERENCE_LAYOUTS.trim().split(/\n(?=\S)/)) {
    const [head, ...fields] = row.split("\n");
    const [name, versions, ...size] = head.split(" ");
    if (!versions.split("/").includes(String(version))) continue;
    const words = fields.flatMap((line) => line.trim().split(" "));
    structs.set(name, `${size.join(" ")} ${words.join(" ")}`);
  }
  return structs;
}

function table(version: AbiVersion) {
  const abi = abiOf(version);
  if (abi === undefined) throw new Error(`no table for ABI ${version}`);
  return abi;
}

for (const version of ABI_VERSIONS) {
  Deno.test(`ABI ${version}: every struct has the reference's size, alignment and offsets`, () => {
    const reference = referenceOf(version);
    const ours = table(version).structs;
    for (const [name, text] of reference) {
      assertEquals(`${name} ${describe(ours[name])}`, `${name} ${text}`);
    }
    const helpers = ["bpf_ghost_msg_body"];
    const names = Object.keys(ours).filter((name) => !helpers.includes(name));
    assertEquals(names.sort(), [...reference.keys()].sort());
  });
}

/** Message types of the reference, section 1.1: "number name" and the first version that has it. */
const MESSAGES_69 = "0 NOP, 64 TASK_DEAD, 65 TASK_BLOCKED, 66 TASK_WAKEUP, 67 TASK_NEW, " +
  "68 TASK_PREEMPT, 69 TASK_YIELD, 70 TASK_DEPARTED, 71 TASK_SWITCHTO, " +
  "72 TASK_AFFINITY_CHANGED, 73 TASK_LATCHED, 128 CPU_TICK, 129 CPU_TIMER_EXPIRED, " +
  "130 CPU_NOT_IDLE";
const MESSAGES_84 = MESSAGES_69.replace("73 TASK_LATCHED", "73 TASK_ON_CPU") +
  ", 74 TASK_PRIORITY_CHANGED, 75 TASK_LATCH_FAILURE, 131 CPU_AVAILABLE, 132 CPU_BUSY, " +
  "133 CPU_AGENT_BLOCKED, 134 CPU_AGENT_WAKEUP";

Deno.test("each ABI version has the reference's message types and no other", () => {
  for (const version of ABI_VERSIONS) {
    const expected = (version === 69 ? MESSAGES_69 : MESSAGES_84).split(", ").sort();
    const messages = [...table(version).messages.values()];
    assertEquals(messages.map(({ type, name }) => `${type} ${name}`).sort(), expected);
  }
});

/** Payload sizes in the ring, reference sections 1.3 and 1.7, in bytes: [type, 69, 84, 90, 91]. */
const PAYLOAD_BYTES: readonly (readonly number[])[] = [
  [64, 8, 8, 16, 16],
  [65, 32, 32, 32, 32],
  [66, 32, 32, 32, 32],
  [67, 32, 40, 48, 48],
  [68, 40, 40, 40, 40],
  [69, 40, 40, 40, 40],
  [70, 24, 24, 24, 24],
  [71, 32, 32, 32, 32],
  [72, 8, 8, 8, 8],
  [73, 32, 32, 32, 32],
  [74, -1, 16, 16, 16],
  [75, -1, 16, 16, 16],
  [128, 4, 4, 8, 8],
  [129, 24, 24, 24, 24],
  [130, 16, 16, 16, 16],
  [131, -1, 4, 4, 4],
  [132, -1, 4, 4, 4],
  [133, -1, 4, 4, 4],
  [134, -1, 4, 4, 4],
];

Deno.test("payloads have the reference's sizes, and all begin with the gtid or the cpu", () => {
  ABI_VERSIONS.forEach((version, column) => {
    const { messages } = table(version);
    for (const [type, ...sizes] of PAYLOAD_BYTES) {
      const payload = messages.get(type)?.payload;
      assertEquals(payload?.size ?? -1, sizes[column], `type ${type} in ABI ${version}`);
      if (payload === undefined) continue;
      const first = payload.fields[0];
      assertEquals([first.name, first.size], type < 128 ? ["gtid", 8] : ["cpu", 4]);
    }
  });
});

Deno.test("handler words follow the differences of section 1.7", () => {
  const words = [69, 84, 90, 91].map((version) => {
    const { words } = table(version as AbiVersion);
    return [
      words.new_parent_gtid,
      words.new_runtime,
      words.new_runnable,
      words.new_nice,
      words.new_sw_info,
      words.new_agent_data,
      words.dead_cpu,
      words.tick_is_agent,
    ].join(" ");
  });
  // Bytes 8/16/24/28/32/40 of section 1.7 as 32-bit words; -1 where the version has no field.
  const abi_90 = "2 4 6 7 8 10 2 1";
  assertEquals(words, ["-1 2 4 -1 5 -1 -1 -1", "2 4 6 7 8 -1 -1 -1", abi_90, abi_90]);
});

/** What each name in PAYLOAD stands for: [payload, field]. */
const PAYLOAD_FIELDS: Readonly<Record<keyof typeof PAYLOAD, readonly [string, string]>> = {
  gtid: ["task_dead", "gtid"],
  cpu: ["cpu_tick", "cpu"],
  runtime: ["task_blocked", "runtime"],
  blocked_cpu: ["task_blocked", "cpu"],
  blocked_flags: ["task_blocked", "from_switchto"],
  preempt_cpu: ["task_preempt", "cpu"],
  preempt_flags: ["task_preempt", "from_switchto"],
  departed_cpu: ["task_departed", "cpu"],
  departed_flags: ["task_departed", "from_switchto"],
  wakeup_deferrable: ["task_wakeup", "deferrable"],
  wakeup_last_ran_cpu: ["task_wakeup", "last_ran_cpu"],
  wakeup_wake_up_cpu: ["task_wakeup", "wake_up_cpu"],
  wakeup_waker_cpu: ["task_wakeup", "waker_cpu"],
  switchto_cpu: ["task_switchto", "cpu"],
  on_cpu_commit_time: ["task_on_cpu", "commit_time"],
  on_cpu_cpu: ["task_on_cpu", "cpu"],
  priority_nice: ["task_priority_changed", "nice"],
  latch_failure_errno: ["task_latch_failure", "errno"],
  not_idle_next_gtid: ["cpu_not_idle", "next_gtid"],
  timer_type: ["timer", "type"],
  timer_cookie: ["timer", "cookie"],
};

Deno.test("payload words that serve every version are at the same place in every version", () => {
  for (const version of ABI_VERSIONS) {
    const { structs } = table(version);
    for (const [key, [payload, field]] of Object.entries(PAYLOAD_FIELDS)) {
      const layout = structs[`ghost_msg_payload_${payload}`];
      if (layout === undefined && version === 69) continue; // came later, section 1.7
      assertEquals(offsetOf(layout, field), PAYLOAD[key as keyof typeof PAYLOAD] * 4, key);
    }
    // The words of a yield are those of a preempt, and a latched task's those of one on a CPU.
    assertEquals(offsetOf(structs["ghost_msg_payload_task_yield"], "cpu"), PAYLOAD.preempt_cpu * 4);
  }
  const latched = table(69).structs["ghost_msg_payload_task_latched"];
  assertEquals(offsetOf(latched, "cpu"), PAYLOAD.on_cpu_cpu * 4);
});

Deno.test("only assoc_queue.barrier changes its type without changing its place", () => {
  const types = ABI_VERSIONS.map((version) =>
    table(version).structs["ghost_ioc_assoc_queue"].fields.find(({ name }) => name === "barrier")
      ?.type
  );
  assertEquals(types, ["i32", "u32", "u32", "u32"]);
});

/** `_IOC` of the asm-generic ioctl layout: direction (1 write, 2 read), magic 'g', number, size. */
function ioc(direction: number, nr: number, size_bytes: number): number {
  return (direction * 2 ** 30) + (size_bytes << 16) + (0x67 << 8) + nr;
}

Deno.test("ioctl codes are _IOC of direction, number and the size of the argument", () => {
  const size = (name: string) => LATEST_ABI.structs[name].size;
  const codes: readonly (readonly [number, number, number, number, number])[] = [
    // code, direction, nr, bytes from our table, the reference's decimal
    [c.GHOST_IOC_NULL, 0, 0, 0, 26368],
    [c.GHOST_IOC_SW_GET_INFO, 3, 1, size("ghost_ioc_sw_get_info"), 3222824705],
    [c.GHOST_IOC_SW_FREE, 1, 2, size("ghost_sw_info"), 1074292482],
    [c.GHOST_IOC_CREATE_QUEUE, 3, 3, size("ghost_ioc_create_queue"), 3222824707],
    [c.GHOST_IOC_ASSOC_QUEUE, 1, 4, size("ghost_ioc_assoc_queue"), 1075865348],
    [c.GHOST_IOC_SET_DEFAULT_QUEUE, 1, 5, size("ghost_ioc_set_default_queue"), 1074030341],
    [c.GHOST_IOC_CONFIG_QUEUE_WAKEUP, 1, 6, size("ghost_ioc_config_queue_wakeup"), 1075341062],
    [c.GHOST_IOC_GET_CPU_TIME, 3, 7, size("ghost_ioc_get_cpu_time"), 3222300423],
    [c.GHOST_IOC_COMMIT_TXN, 1, 8, size("ghost_ioc_commit_txn"), 1074816776],
    [c.GHOST_IOC_SYNC_GROUP_TXN, 1, 9, size("ghost_ioc_commit_txn"), 1074816777],
    [c.GHOST_IOC_TIMERFD_SETTIME, 3, 10, size("ghost_ioc_timerfd_settime"), 3224397578],
    [c.GHOST_IOC_RUN, 1, 11, size("ghost_ioc_run"), 1075341067],
  ];
  for (const [code, direction, nr, bytes, decimal] of codes) {
    assertEquals(code, ioc(direction, nr, bytes), `number ${nr}`);
    assertEquals(code, decimal, `number ${nr}`);
  }
  const declared = Object.keys(c).filter((name) => name.startsWith("GHOST_IOC_"));
  assertEquals(declared.length, codes.length);
});

/** Scalar constants of the reference, section 1.1. */
const REFERENCE_CONSTANTS: Readonly<Record<string, number>> = {
  SCHED_GHOST: 18,
  GHOST_AGENT: 0,
  GHOST_TASK: 1,
  GHOST_MAX_WINFO: 2,
  TIMERFD_GHOST_ENABLED: 1,
  GHOST_MAX_QUEUE_ELEMS: 65536,
  GHOST_NULL_GTID: 0,
  GHOST_AGENT_GTID: -1,
  GHOST_IDLE_GTID: -2,
  GHOST_SW_F_INUSE: 0x00001,
  GHOST_SW_F_CANFREE: 0x00002,
  GHOST_SW_F_ALLOCATED: 0x00004,
  GHOST_SW_CPU_AVAIL: 0x00100,
  GHOST_SW_BOOST_PRIO: 0x00200,
  GHOST_SW_TASK_ONCPU: 0x10000,
  GHOST_SW_TASK_RUNNABLE: 0x20000,
  GHOST_SW_TASK_IS_AGENT: 0x40000,
  GHOST_SW_TASK_MSG_GATED: 0x80000,
  GHOST_ASSOC_SF_ALREADY: 1,
  GHOST_ASSOC_SF_BRAND_NEW: 2,
  RTLA_ON_PREEMPT: 1,
  RTLA_ON_BLOCKED: 2,
  RTLA_ON_YIELD: 4,
  RTLA_ON_IDLE: 32,
  NEED_L1D_FLUSH: 64,
  NEED_CPU_NOT_IDLE: 128,
  ELIDE_PREEMPT: 512,
  SEND_TASK_ON_CPU: 1024,
  DEFER_LATCHED_PREEMPTION_BY_AGENT: 2048,
  DO_NOT_PREEMPT: 4096,
  COMMIT_AT_SCHEDULE: 1,
  COMMIT_AT_TXN_COMMIT: 2,
  ALLOW_TASK_ONCPU: 4,
  ELIDE_AGENT_BARRIER_INC: 8,
  INC_AGENT_BARRIER_ON_FAILURE: 16,
  COMMIT_AT_FLAGS: 3,
  GHOST_TXN_COMPLETE: -2147483648,
  GHOST_TXN_ABORTED: -2147483647,
  GHOST_TXN_TARGET_ONCPU: -2147483646,
  GHOST_TXN_TARGET_STALE: -2147483645,
  GHOST_TXN_TARGET_NOT_FOUND: -2147483644,
  GHOST_TXN_TARGET_NOT_RUNNABLE: -2147483643,
  GHOST_TXN_AGENT_STALE: -2147483642,
  GHOST_TXN_CPU_OFFLINE: -2147483641,
  GHOST_TXN_CPU_UNAVAIL: -2147483640,
  GHOST_TXN_INVALID_FLAGS: -2147483639,
  GHOST_TXN_INVALID_TARGET: -2147483638,
  GHOST_TXN_NOT_PERMITTED: -2147483637,
  GHOST_TXN_INVALID_CPU: -2147483636,
  GHOST_TXN_NO_AGENT: -2147483635,
  GHOST_TXN_UNSUPPORTED_VERSION: -2147483634,
  GHOST_TXN_POISONED: -2147483633,
  GHOST_TXN_READY: 2147483647,
  MSG_TASK_FIRST: 64,
  MSG_TASK_LAST: 127,
  MSG_CPU_FIRST: 128,
  MSG_CPU_LAST: 191,
};

Deno.test("scalar constants are the reference's", () => {
  const ours = c as unknown as Record<string, unknown>;
  for (const [name, value] of Object.entries(REFERENCE_CONSTANTS)) {
    assertEquals(ours[name], value, name);
  }
  assertEquals(c.RUN_FLAGS_ALL, 0x1ee7);
  assertEquals(c.COMMIT_FLAGS_ALL, 0x1f);
});

Deno.test("names of transaction states stand at their numbers", () => {
  const ours = c as unknown as Record<string, number>;
  c.TXN_STATE_NAMES.forEach((name, index) => {
    assertEquals(ours[name], c.GHOST_TXN_COMPLETE + index, name);
  });
  assertEquals(c.TXN_STATE_NAMES.length, 16);
});

Deno.test("word constants agree with the struct tables of every version", () => {
  const words: readonly (readonly [string, string, number])[] = [
    ["ghost_ring", "head", c.RING_HEAD_WORD],
    ["ghost_ring", "tail", c.RING_TAIL_WORD],
    ["ghost_ring", "overflow", c.RING_OVERFLOW_WORD],
    ["ghost_ring", "msgs", c.RING_MSGS_WORD],
    ["ghost_queue_header", "version", c.QUEUE_VERSION_WORD],
    ["ghost_queue_header", "start", c.QUEUE_START_WORD],
    ["ghost_queue_header", "nelems", c.QUEUE_NELEMS_WORD],
    ["ghost_sw_region_header", "version", c.SW_REGION_VERSION_WORD],
    ["ghost_sw_region_header", "id", c.SW_REGION_ID_WORD],
    ["ghost_sw_region_header", "numa_node", c.SW_REGION_NUMA_NODE_WORD],
    ["ghost_sw_region_header", "start", c.SW_REGION_START_WORD],
    ["ghost_sw_region_header", "capacity", c.SW_REGION_CAPACITY_WORD],
    ["ghost_sw_region_header", "available", c.SW_REGION_AVAILABLE_WORD],
    ["ghost_status_word", "barrier", c.SW_BARRIER_WORD],
    ["ghost_status_word", "flags", c.SW_FLAGS_WORD],
    ["ghost_status_word", "gtid", c.SW_GTID_WORD],
    ["ghost_status_word", "switch_time", c.SW_SWITCH_TIME_WORD],
    ["ghost_status_word", "runtime", c.SW_RUNTIME_WORD],
    ["ghost_txn", "version", c.TXN_VERSION_WORD],
    ["ghost_txn", "cpu", c.TXN_CPU_WORD],
    ["ghost_txn", "state", c.TXN_STATE_WORD],
    ["ghost_txn", "agent_barrier", c.TXN_AGENT_BARRIER_WORD],
    ["ghost_txn", "task_barrier", c.TXN_TASK_BARRIER_WORD],
    ["ghost_txn", "run_flags", c.TXN_FLAGS_WORD],
    ["ghost_txn", "gtid", c.TXN_GTID_WORD],
    ["ghost_txn", "commit_time", c.TXN_COMMIT_TIME_WORD],
    ["ghost_txn", "cpu_seqnum", c.TXN_CPU_SEQNUM_WORD],
    ["ghost_txn", "sync_group_owner", c.TXN_OWNER_WORD],
  ];
  for (const version of ABI_VERSIONS) {
    const { structs } = table(version);
    for (const [name, field, word] of words) {
      assertEquals(offsetOf(structs[name], field), word * 4, `${name}.${field}`);
    }
    assertEquals(structs["ghost_status_word"].size, c.STATUS_WORD_BYTES);
    assertEquals(structs["ghost_cpu_data"].size, c.CPU_DATA_BYTES);
    assertEquals(structs["ghost_msg"].size, c.MSG_HEADER_BYTES);
  }
});

Deno.test("control-file commands are those of section 2.3", () => {
  assertEquals(createCommand(3, 90), "create 3 90");
  assertEquals(createSwRegionCommand(0, 1), "create sw_region 0 1");
  assertEquals(becomeAgentCommand(table(69), 5, 12), "become agent 12");
  for (const version of [84, 90, 91] as const) {
    assertEquals(becomeAgentCommand(table(version), 5, 12), "become agent 5 12");
  }
  assertEquals(DISCOVER_TASKS_COMMAND, "discover tasks");
  assertEquals(DISABLE_BPF_PROG_LOAD_COMMAND, "disable my bpf_prog_load");
  assertEquals(DESTROY_COMMAND, "destroy");
});

Deno.test("files and rules that came after 69 are absent there", () => {
  const later = ["deliver_cpu_availability", "deliver_agent_runnability"];
  for (const version of ABI_VERSIONS) {
    const abi = table(version);
    const is_new = version > 69;
    assertEquals(later.filter((name) => abi.tunables.includes(name)), is_new ? later : []);
    assertEquals(abi.tunables.length, is_new ? 8 : 6);
    assertEquals(abi.tasks_accept_gtid, is_new);
    assertEquals(abi.sync_group_fails_whole, !is_new);
    assertEquals(abi.bad_cpu_errno, is_new ? 22 : 19);
  }
});

Deno.test("the newest common version is chosen, none if there is none", () => {
  assertEquals(bestCommonAbi([69, 84, 85])?.version, 84);
  assertEquals(bestCommonAbi([91, 69])?.version, 91);
  assertEquals(bestCommonAbi([68, 85, 92]), undefined);
  assertEquals(bestCommonAbi([]), undefined);
  assertEquals(abiOf(85), undefined);
  assertEquals(LATEST_ABI.version, 91);
});

Deno.test("a layout with an unknown type or a bad field is refused", () => {
  const unknown = assertThrows(() => layoutStruct("s", "a:u128", {}), TypeError);
  assertStringIncludes((unknown as TypeError).message, "unknown type u128");
  const bad = assertThrows(() => layoutStruct("s", "a", {}), TypeError);
  assertStringIncludes((bad as TypeError).message, `bad field "a"`);
  assertEquals(offsetOf(undefined, "a"), -1);
  assertEquals(offsetOf(layoutStruct("s", "a:u8", {}), "b"), -1);
});
