/**
 * Constants that are the same in every ghOSt ABI version this project speaks (69, 84, 90, 91).
 * Source: reference of the ghOSt user ABI, sections 1.1 and 1.2.
 *
 * @module
 */

/** Scheduler class number of ghOSt tasks (`SCHED_GHOST`). */
export const SCHED_GHOST = 18;
/** Owner value of a transaction that belongs to no sync group. */
export const SYNC_GROUP_NOT_OWNED = -1;
/** Barrier value that means "no barrier read yet". */
export const NULL_BARRIER = 0;

/** Special gtids; as i64 they are 0, −1 and −2. */
export const GHOST_NULL_GTID = 0;
export const GHOST_AGENT_GTID = -1;
export const GHOST_IDLE_GTID = -2;

/** Message source and association type. */
export const GHOST_AGENT = 0;
export const GHOST_TASK = 1;

/** Most elements a queue may have; a power of two. */
export const GHOST_MAX_QUEUE_ELEMS = 65536;
/** Most wake-up targets of one queue. */
export const GHOST_MAX_WINFO = 2;
/** Enables MSG_CPU_TIMER_EXPIRED in `timerfd_ghost.flags`. */
export const TIMERFD_GHOST_ENABLED = 1;

/** Status word flags (`ghost_status_word.flags`). */
export const GHOST_SW_F_INUSE = 1 << 0;
export const GHOST_SW_F_CANFREE = 1 << 1;
export const GHOST_SW_F_ALLOCATED = 1 << 2;
export const GHOST_SW_CPU_AVAIL = 1 << 8;
export const GHOST_SW_BOOST_PRIO = 1 << 9;
export const GHOST_SW_TASK_ONCPU = 1 << 16;
export const GHOST_SW_TASK_RUNNABLE = 1 << 17;
export const GHOST_SW_TASK_IS_AGENT = 1 << 18;
export const GHOST_SW_TASK_MSG_GATED = 1 << 19;

/** Bits of the value that queue association returns. */
export const GHOST_ASSOC_SF_ALREADY = 1 << 0;
export const GHOST_ASSOC_SF_BRAND_NEW = 1 << 1;

/** Run flags (`ghost_txn.run_flags`); RTLA is "return to local agent". */
export const RTLA_ON_PREEMPT = 1;
export const RTLA_ON_BLOCKED = 2;
export const RTLA_ON_YIELD = 4;
export const RTLA_ON_IDLE = 32;
export const NEED_L1D_FLUSH = 64;
export const NEED_CPU_NOT_IDLE = 128;
export const ELIDE_PREEMPT = 512;
/** SEND_TASK_LATCHED in ABI 69, where it asks for a message at commit. */
export const SEND_TASK_ON_CPU = 1024;
export const DEFER_LATCHED_PREEMPTION_BY_AGENT = 2048;
export const DO_NOT_PREEMPT = 4096;
/** Every run flag the kernel knows. */
export const RUN_FLAGS_ALL = 1 | 2 | 4 | 32 | 64 | 128 | 512 | 1024 | 2048 | 4096;

/** Commit flags (`ghost_txn.commit_flags`); 0 is "greedy": committed at any commit point. */
export const COMMIT_AT_SCHEDULE = 1;
export const COMMIT_AT_TXN_COMMIT = 2;
export const ALLOW_TASK_ONCPU = 4;
export const ELIDE_AGENT_BARRIER_INC = 8;
export const INC_AGENT_BARRIER_ON_FAILURE = 16;
export const COMMIT_AT_FLAGS = 3;
/** Every commit flag the kernel knows. */
export const COMMIT_FLAGS_ALL = 31;

/** Transaction states; 0 … MAX_CPUS−1 means "claimed by that CPU". */
export const GHOST_TXN_COMPLETE = -2147483648;
export const GHOST_TXN_ABORTED = -2147483647;
export const GHOST_TXN_TARGET_ONCPU = -2147483646;
export const GHOST_TXN_TARGET_STALE = -2147483645;
export const GHOST_TXN_TARGET_NOT_FOUND = -2147483644;
export const GHOST_TXN_TARGET_NOT_RUNNABLE = -2147483643;
export const GHOST_TXN_AGENT_STALE = -2147483642;
export const GHOST_TXN_CPU_OFFLINE = -2147483641;
export const GHOST_TXN_CPU_UNAVAIL = -2147483640;
export const GHOST_TXN_INVALID_FLAGS = -2147483639;
export const GHOST_TXN_INVALID_TARGET = -2147483638;
export const GHOST_TXN_NOT_PERMITTED = -2147483637;
export const GHOST_TXN_INVALID_CPU = -2147483636;
export const GHOST_TXN_NO_AGENT = -2147483635;
export const GHOST_TXN_UNSUPPORTED_VERSION = -2147483634;
export const GHOST_TXN_POISONED = -2147483633;
export const GHOST_TXN_READY = 2147483647;

/** Names of the committed transaction states, index = state − GHOST_TXN_COMPLETE. */
export const TXN_STATE_NAMES: readonly string[] = [
  "GHOST_TXN_COMPLETE",
  "GHOST_TXN_ABORTED",
  "GHOST_TXN_TARGET_ONCPU",
  "GHOST_TXN_TARGET_STALE",
  "GHOST_TXN_TARGET_NOT_FOUND",
  "GHOST_TXN_TARGET_NOT_RUNNABLE",
  "GHOST_TXN_AGENT_STALE",
  "GHOST_TXN_CPU_OFFLINE",
  "GHOST_TXN_CPU_UNAVAIL",
  "GHOST_TXN_INVALID_FLAGS",
  "GHOST_TXN_INVALID_TARGET",
  "GHOST_TXN_NOT_PERMITTED",
  "GHOST_TXN_INVALID_CPU",
  "GHOST_TXN_NO_AGENT",
  "GHOST_TXN_UNSUPPORTED_VERSION",
  "GHOST_TXN_POISONED",
];

/** Message types; 64 … 127 are task messages, 128 … 191 CPU messages. */
export const MSG_NOP = 0;
export const MSG_TASK_DEAD = 64;
export const MSG_TASK_BLOCKED = 65;
export const MSG_TASK_WAKEUP = 66;
export const MSG_TASK_NEW = 67;
export const MSG_TASK_PREEMPT = 68;
export const MSG_TASK_YIELD = 69;
export const MSG_TASK_DEPARTED = 70;
export const MSG_TASK_SWITCHTO = 71;
export const MSG_TASK_AFFINITY_CHANGED = 72;
/** TASK_LATCHED in ABI 69, TASK_ON_CPU from 78 on. */
export const MSG_TASK_ON_CPU = 73;
export const MSG_TASK_PRIORITY_CHANGED = 74;
export const MSG_TASK_LATCH_FAILURE = 75;
export const MSG_CPU_TICK = 128;
export const MSG_CPU_TIMER_EXPIRED = 129;
export const MSG_CPU_NOT_IDLE = 130;
export const MSG_CPU_AVAILABLE = 131;
export const MSG_CPU_BUSY = 132;
export const MSG_CPU_AGENT_BLOCKED = 133;
export const MSG_CPU_AGENT_WAKEUP = 134;

/** Bounds of the two message ranges, inclusive. */
export const MSG_TASK_FIRST = 64;
export const MSG_TASK_LAST = 127;
export const MSG_CPU_FIRST = 128;
export const MSG_CPU_LAST = 191;

/** Words (32 bit) of the ring in a queue mapping, from the start of `ghost_ring`. */
export const RING_HEAD_WORD = 0;
export const RING_TAIL_WORD = 1;
export const RING_OVERFLOW_WORD = 2;
export const RING_MSGS_WORD = 3;
/** Words of `ghost_queue_header`. */
export const QUEUE_VERSION_WORD = 0;
export const QUEUE_START_WORD = 1;
export const QUEUE_NELEMS_WORD = 2;
/** Bytes of one ring slot. */
export const RING_SLOT_BYTES = 8;
/** Bytes of `ghost_msg` before the payload. */
export const MSG_HEADER_BYTES = 8;

/** Words of `ghost_sw_region_header`. */
export const SW_REGION_VERSION_WORD = 0;
export const SW_REGION_ID_WORD = 1;
export const SW_REGION_NUMA_NODE_WORD = 2;
export const SW_REGION_START_WORD = 3;
export const SW_REGION_CAPACITY_WORD = 4;
export const SW_REGION_AVAILABLE_WORD = 5;
/** Bytes of one status word. */
export const STATUS_WORD_BYTES = 32;
/** Words of `ghost_status_word`. */
export const SW_BARRIER_WORD = 0;
export const SW_FLAGS_WORD = 1;
export const SW_GTID_WORD = 2;
export const SW_SWITCH_TIME_WORD = 4;
export const SW_RUNTIME_WORD = 6;

/** Words of `ghost_txn`; run_flags is the low half of its word, commit_flags the third byte. */
export const TXN_VERSION_WORD = 0;
export const TXN_CPU_WORD = 1;
export const TXN_STATE_WORD = 2;
export const TXN_AGENT_BARRIER_WORD = 3;
export const TXN_TASK_BARRIER_WORD = 4;
export const TXN_FLAGS_WORD = 5;
export const TXN_GTID_WORD = 6;
export const TXN_COMMIT_TIME_WORD = 8;
export const TXN_CPU_SEQNUM_WORD = 10;
export const TXN_OWNER_WORD = 12;
/** Bytes of `ghost_cpu_data`, the stride of the transaction records. */
export const CPU_DATA_BYTES = 4096;

/** ioctl codes on the enclave's ctl file; equal in every version (magic 'g'). */
export const GHOST_IOC_NULL = 0x00006700;
export const GHOST_IOC_SW_GET_INFO = 0xc0186701;
export const GHOST_IOC_SW_FREE = 0x40086702;
export const GHOST_IOC_CREATE_QUEUE = 0xc0186703;
export const GHOST_IOC_ASSOC_QUEUE = 0x40206704;
export const GHOST_IOC_SET_DEFAULT_QUEUE = 0x40046705;
export const GHOST_IOC_CONFIG_QUEUE_WAKEUP = 0x40186706;
export const GHOST_IOC_GET_CPU_TIME = 0xc0106707;
export const GHOST_IOC_COMMIT_TXN = 0x40106708;
export const GHOST_IOC_SYNC_GROUP_TXN = 0x40106709;
export const GHOST_IOC_TIMERFD_SETTIME = 0xc030670a;
export const GHOST_IOC_RUN = 0x4018670b;
