/**
 * Constants that are the same in every ghOSt ABI version this project speaks (69, 84, 90, 91).
 * Source: reference of the ghOSt user ABI, sections 1.1 and 1.2.
 *
 * @module
 */

/** Scheduler class number of ghOSt tasks (`SCHED_GHOST`). */
export const SCHED_GHOST = 18;
/** Owner value of a transaction that belongs to no sync group. */
export const SYNC_GROUP_NOT_OWNED: number = -1;

// Special gtids; as i64 they are 0, −1 and −2.

/** No task; a transaction with it takes the running ghOSt task off the CPU. */
export const GHOST_NULL_GTID = 0;
/** The agent of a CPU; a run request with it is a ping. */
export const GHOST_AGENT_GTID: number = -1;
/** The idle task of a CPU. */
export const GHOST_IDLE_GTID: number = -2;

// Message source and association type.

/** Messages and status words of an agent. */
export const GHOST_AGENT = 0;
/** Messages and status words of a task. */
export const GHOST_TASK = 1;

/** Most elements a queue may have; a power of two. */
export const GHOST_MAX_QUEUE_ELEMS = 65536;
/** Most wake-up targets of one queue. */
export const GHOST_MAX_WINFO = 2;
/** Enables MSG_CPU_TIMER_EXPIRED in `timerfd_ghost.flags`. */
export const TIMERFD_GHOST_ENABLED = 1;

// Status word flags (`ghost_status_word.flags`).

/** The status word is in use. */
export const GHOST_SW_F_INUSE = 1 << 0;
/** The task is gone and the agent may free the word. */
export const GHOST_SW_F_CANFREE = 1 << 1;
/** The word has been handed out. */
export const GHOST_SW_F_ALLOCATED = 1 << 2;
/** Agent: a hint that ghOSt tasks may run on the CPU. */
export const GHOST_SW_CPU_AVAIL = 1 << 8;
/** Agent: it runs with boosted priority, woken over the default class. */
export const GHOST_SW_BOOST_PRIO = 1 << 9;
/** Task: it is on a CPU. */
export const GHOST_SW_TASK_ONCPU = 1 << 16;
/** Task: it is runnable. */
export const GHOST_SW_TASK_RUNNABLE = 1 << 17;
/** The word belongs to an agent. */
export const GHOST_SW_TASK_IS_AGENT = 1 << 18;
/** Task: its messages are held back until the agent frees this word. */
export const GHOST_SW_TASK_MSG_GATED = 1 << 19;

// Bits of the value that queue association returns.

/** The task was associated with that queue already. */
export const GHOST_ASSOC_SF_ALREADY = 1 << 0;
/** The task's TASK_NEW message has not been sent yet. */
export const GHOST_ASSOC_SF_BRAND_NEW = 1 << 1;

// Run flags (`ghost_txn.run_flags`); RTLA is "return to local agent".

/** Return to the local agent when the task is preempted. */
export const RTLA_ON_PREEMPT = 1;
/** Return to the local agent when the task blocks. */
export const RTLA_ON_BLOCKED = 2;
/** Return to the local agent when the task yields. */
export const RTLA_ON_YIELD = 4;
/** Return to the local agent when the CPU becomes idle. */
export const RTLA_ON_IDLE = 32;
/** Flush the L1 data cache before the task runs. */
export const NEED_L1D_FLUSH = 64;
/** Send CPU_NOT_IDLE when the CPU stops being idle; only with the idle gtid. */
export const NEED_CPU_NOT_IDLE = 128;
/** No TASK_PREEMPT for the task that this one displaces. */
export const ELIDE_PREEMPT = 512;
/** SEND_TASK_LATCHED in ABI 69, where it asks for a message at commit. */
export const SEND_TASK_ON_CPU = 1024;
/** A waking agent does not preempt the latched task at once. */
export const DEFER_LATCHED_PREEMPTION_BY_AGENT = 2048;
/** Refuse the commit when a ghOSt task is running on the CPU. */
export const DO_NOT_PREEMPT = 4096;
/** Every run flag the kernel knows. */
export const RUN_FLAGS_ALL = 1 | 2 | 4 | 32 | 64 | 128 | 512 | 1024 | 2048 | 4096;

// Commit flags (`ghost_txn.commit_flags`); 0 is "greedy": committed at any commit point.

/** Commit when the agent schedules, that is: gives its CPU away. */
export const COMMIT_AT_SCHEDULE = 1;
/** Commit only by the commit ioctl. */
export const COMMIT_AT_TXN_COMMIT = 2;
/** Accept a task that already runs on the target CPU. */
export const ALLOW_TASK_ONCPU = 4;
/** Success does not increment the target agent's barrier. */
export const ELIDE_AGENT_BARRIER_INC = 8;
/** Failure increments the target agent's barrier too. */
export const INC_AGENT_BARRIER_ON_FAILURE = 16;
/** The COMMIT_AT_* flags, of which at most one may be set. */
export const COMMIT_AT_FLAGS = 3;
/** Every commit flag the kernel knows. */
export const COMMIT_FLAGS_ALL = 31;

// Transaction states; 0 … MAX_CPUS−1 means "claimed by that CPU".

/** Committed: the task runs or is latched. */
export const GHOST_TXN_COMPLETE: number = -2147483648;
/** Given up by the agent before the kernel claimed it. */
export const GHOST_TXN_ABORTED: number = -2147483647;
/** Refused: the task is on a CPU. */
export const GHOST_TXN_TARGET_ONCPU: number = -2147483646;
/** Refused: the task's barrier moved on, or the task is dead or departed. */
export const GHOST_TXN_TARGET_STALE: number = -2147483645;
/** Refused: no task has the gtid. */
export const GHOST_TXN_TARGET_NOT_FOUND: number = -2147483644;
/** Refused: the task is not runnable. */
export const GHOST_TXN_TARGET_NOT_RUNNABLE: number = -2147483643;
/** Refused: the agent's barrier moved on. */
export const GHOST_TXN_AGENT_STALE: number = -2147483642;
/** Refused: the CPU is offline. */
export const GHOST_TXN_CPU_OFFLINE: number = -2147483641;
/** Refused: a higher scheduling class runs on the CPU. */
export const GHOST_TXN_CPU_UNAVAIL: number = -2147483640;
/** Refused: flags that are unknown or exclude each other. */
export const GHOST_TXN_INVALID_FLAGS: number = -2147483639;
/** Refused: the gtid is no ghOSt task that can be run. */
export const GHOST_TXN_INVALID_TARGET: number = -2147483638;
/** Refused: only agents may commit. */
export const GHOST_TXN_NOT_PERMITTED: number = -2147483637;
/** Refused: the record names another CPU than the one it belongs to. */
export const GHOST_TXN_INVALID_CPU: number = -2147483636;
/** Refused: the CPU has no agent. */
export const GHOST_TXN_NO_AGENT: number = -2147483635;
/** Refused: version of the record. */
export const GHOST_TXN_UNSUPPORTED_VERSION: number = -2147483634;
/** Not tried: another member of the group failed. */
export const GHOST_TXN_POISONED: number = -2147483633;
/** Open: filled in by the agent, not yet claimed. */
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

// Message types; 64 … 127 are task messages, 128 … 191 CPU messages.

/** Filler at the end of a ring. */
export const MSG_NOP = 0;
/** A task is gone. */
export const MSG_TASK_DEAD = 64;
/** A task blocked. */
export const MSG_TASK_BLOCKED = 65;
/** A task became runnable. */
export const MSG_TASK_WAKEUP = 66;
/** A task joined the enclave. */
export const MSG_TASK_NEW = 67;
/** A task was preempted. */
export const MSG_TASK_PREEMPT = 68;
/** A task yielded. */
export const MSG_TASK_YIELD = 69;
/** A task left the enclave for another scheduling class. */
export const MSG_TASK_DEPARTED = 70;
/** A task handed its CPU to another task. */
export const MSG_TASK_SWITCHTO = 71;
/** A task's CPU affinity changed. */
export const MSG_TASK_AFFINITY_CHANGED = 72;
/** TASK_LATCHED in ABI 69, TASK_ON_CPU from 78 on. */
export const MSG_TASK_ON_CPU = 73;
/** A task's nice value changed (ABI 84 on). */
export const MSG_TASK_PRIORITY_CHANGED = 74;
/** A latched task could not be run (ABI 84 on). */
export const MSG_TASK_LATCH_FAILURE = 75;
/** Timer tick of a CPU. */
export const MSG_CPU_TICK = 128;
/** A timer of the agent expired. */
export const MSG_CPU_TIMER_EXPIRED = 129;
/** A CPU stopped being idle, as NEED_CPU_NOT_IDLE asked. */
export const MSG_CPU_NOT_IDLE = 130;
/** A CPU became available to ghOSt tasks (ABI 84 on). */
export const MSG_CPU_AVAILABLE = 131;
/** A CPU is no longer available to ghOSt tasks (ABI 84 on). */
export const MSG_CPU_BUSY = 132;
/** The agent of a CPU blocked (ABI 84 on). */
export const MSG_CPU_AGENT_BLOCKED = 133;
/** The agent of a CPU woke up (ABI 84 on). */
export const MSG_CPU_AGENT_WAKEUP = 134;

// Bounds of the two message ranges, inclusive.

/** First number of the task messages. */
export const MSG_TASK_FIRST = 64;
/** Last number of the task messages. */
export const MSG_TASK_LAST = 127;
/** First number of the CPU messages. */
export const MSG_CPU_FIRST = 128;
/** Last number of the CPU messages. */
export const MSG_CPU_LAST = 191;

// Words (32 bit) of the ring in a queue mapping, from the start of `ghost_ring`.

/** `ghost_ring.head`: the producer's index. */
export const RING_HEAD_WORD = 0;
/** `ghost_ring.tail`: the consumer's index. */
export const RING_TAIL_WORD = 1;
/** `ghost_ring.overflow`: messages dropped because the ring was full. */
export const RING_OVERFLOW_WORD = 2;
/** `ghost_ring.msgs`: the first slot. */
export const RING_MSGS_WORD = 3;
// Words of `ghost_queue_header`.

/** `ghost_queue_header.version`. */
export const QUEUE_VERSION_WORD = 0;
/** `ghost_queue_header.start`: offset of the ring in bytes. */
export const QUEUE_START_WORD = 1;
/** `ghost_queue_header.nelems`: slots of the ring. */
export const QUEUE_NELEMS_WORD = 2;
/** Bytes of one ring slot. */
export const RING_SLOT_BYTES = 8;
/** Bytes of `ghost_msg` before the payload. */
export const MSG_HEADER_BYTES = 8;

// Words of `ghost_sw_region_header`.

/** `ghost_sw_region_header.version`. */
export const SW_REGION_VERSION_WORD = 0;
/** `ghost_sw_region_header.id`. */
export const SW_REGION_ID_WORD = 1;
/** `ghost_sw_region_header.numa_node`. */
export const SW_REGION_NUMA_NODE_WORD = 2;
/** `ghost_sw_region_header.start`: offset of the first word in bytes. */
export const SW_REGION_START_WORD = 3;
/** `ghost_sw_region_header.capacity`: status words in the region. */
export const SW_REGION_CAPACITY_WORD = 4;
/** `ghost_sw_region_header.available`: status words that are free. */
export const SW_REGION_AVAILABLE_WORD = 5;
/** Bytes of one status word. */
export const STATUS_WORD_BYTES = 32;
// Words of `ghost_status_word`.

/** `ghost_status_word.barrier`. */
export const SW_BARRIER_WORD = 0;
/** `ghost_status_word.flags`. */
export const SW_FLAGS_WORD = 1;
/** `ghost_status_word.gtid`, two words. */
export const SW_GTID_WORD = 2;
/** `ghost_status_word.switch_time` in nanoseconds, two words. */
export const SW_SWITCH_TIME_WORD = 4;
/** `ghost_status_word.runtime` in nanoseconds, two words. */
export const SW_RUNTIME_WORD = 6;

// Words of `ghost_txn`; run_flags is the low half of its word, commit_flags the third byte.

/** `ghost_txn.version`. */
export const TXN_VERSION_WORD = 0;
/** `ghost_txn.cpu`. */
export const TXN_CPU_WORD = 1;
/** `ghost_txn.state`. */
export const TXN_STATE_WORD = 2;
/** `ghost_txn.agent_barrier`. */
export const TXN_AGENT_BARRIER_WORD = 3;
/** `ghost_txn.task_barrier`. */
export const TXN_TASK_BARRIER_WORD = 4;
/** `ghost_txn.run_flags` (low half) and `commit_flags` (third byte). */
export const TXN_FLAGS_WORD = 5;
/** `ghost_txn.gtid`, two words. */
export const TXN_GTID_WORD = 6;
/** `ghost_txn.commit_time` in nanoseconds, two words. */
export const TXN_COMMIT_TIME_WORD = 8;
/** `ghost_txn.cpu_seqnum`, two words. */
export const TXN_CPU_SEQNUM_WORD = 10;
/** `ghost_txn.sync_group_owner`. */
export const TXN_OWNER_WORD = 12;
/** Bytes of `ghost_cpu_data`, the stride of the transaction records. */
export const CPU_DATA_BYTES = 4096;

// ioctl codes on the enclave's ctl file; equal in every version (magic 'g').

/** Does nothing; for measuring. */
export const GHOST_IOC_NULL = 0x00006700;
/** Finds the status word of a task or an agent. */
export const GHOST_IOC_SW_GET_INFO = 0xc0186701;
/** Frees a status word. */
export const GHOST_IOC_SW_FREE = 0x40086702;
/** Creates a message queue. */
export const GHOST_IOC_CREATE_QUEUE = 0xc0186703;
/** Sends a task's messages to a queue. */
export const GHOST_IOC_ASSOC_QUEUE = 0x40206704;
/** Sends new tasks' messages to a queue. */
export const GHOST_IOC_SET_DEFAULT_QUEUE = 0x40046705;
/** Names the agents that a message in a queue wakes. */
export const GHOST_IOC_CONFIG_QUEUE_WAKEUP = 0x40186706;
/** Reads a task's CPU time in nanoseconds. */
export const GHOST_IOC_GET_CPU_TIME = 0xc0106707;
/** Commits the transactions of a set of CPUs. */
export const GHOST_IOC_COMMIT_TXN = 0x40106708;
/** Commits the transactions of a set of CPUs, all or none. */
export const GHOST_IOC_SYNC_GROUP_TXN = 0x40106709;
/** Arms a timer that sends a message. */
export const GHOST_IOC_TIMERFD_SETTIME = 0xc030670a;
/** Yields the CPU of the calling agent, or pings another agent. */
export const GHOST_IOC_RUN = 0x4018670b;
