/**
 * What the scripted kernel knows of the ABI versions, written down apart from ffi/abi so that a
 * wrong byte there turns a test red. Source: reference sections 1.2, 1.7 and 2.3.
 *
 * @module
 */

/** TASK_NEW in the ring: offsets in bytes from the start of the payload. */
interface TaskNewFacts {
  readonly payload_bytes: number;
  readonly runtime: number;
  readonly runnable: number;
  readonly sw_info: number;
}

/** What differs between versions. */
export interface AbiFacts {
  /** `become agent CPU QUEUE` and the kernel pins, or `become agent QUEUE`. */
  readonly become_agent_has_cpu: boolean;
  /** `tasks` takes gtids too. */
  readonly takes_gtid: boolean;
  /** errno of SW_GET_INFO for a CPU that is not in the enclave. */
  readonly bad_cpu_errno: number;
  /** Layout of TASK_NEW. */
  readonly task_new: TaskNewFacts;
  /** Bytes of TASK_DEAD's payload. */
  readonly task_dead_bytes: number;
  /** Tunable files. */
  readonly tunables: readonly string[];
}

const OLD_TUNABLES = [
  "commit_at_tick",
  "deliver_ticks",
  "live_dangerously",
  "runnable_timeout",
  "switchto_disabled",
  "wake_on_waker_cpu",
];
const NEW_TUNABLES = [...OLD_TUNABLES, "deliver_cpu_availability", "deliver_agent_runnability"];
const TASK_NEW_90 = { payload_bytes: 48, runtime: 16, runnable: 24, sw_info: 32 };

const MODERN = {
  become_agent_has_cpu: true,
  takes_gtid: true,
  bad_cpu_errno: 22,
  tunables: NEW_TUNABLES,
};

/** The versions that this project speaks, and one that it does not. */
export const ABI_FACTS: Readonly<Record<number, AbiFacts>> = {
  69: {
    become_agent_has_cpu: false,
    takes_gtid: false,
    bad_cpu_errno: 19,
    task_new: { payload_bytes: 32, runtime: 8, runnable: 16, sw_info: 20 },
    task_dead_bytes: 8,
    tunables: OLD_TUNABLES,
  },
  84: {
    ...MODERN,
    task_new: { payload_bytes: 40, runtime: 16, runnable: 24, sw_info: 32 },
    task_dead_bytes: 8,
  },
  88: { ...MODERN, task_new: TASK_NEW_90, task_dead_bytes: 8 },
  90: { ...MODERN, task_new: TASK_NEW_90, task_dead_bytes: 16 },
  91: { ...MODERN, task_new: TASK_NEW_90, task_dead_bytes: 16 },
};

/** ioctl codes, the same in every version. */
export const IOCTL = {
  NULL: 26368,
  SW_GET_INFO: 3222824705,
  SW_FREE: 1074292482,
  CREATE_QUEUE: 3222824707,
  ASSOC_QUEUE: 1075865348,
  SET_DEFAULT_QUEUE: 1074030341,
  CONFIG_QUEUE_WAKEUP: 1075341062,
  GET_CPU_TIME: 3222300423,
  COMMIT_TXN: 1074816776,
  SYNC_GROUP_TXN: 1074816777,
  TIMERFD_SETTIME: 3224397578,
  RUN: 1075341067,
} as const;

/** errno values. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  EINVAL: 22,
  ENOTTY: 25,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ESTALE: 116,
  EALREADY: 114,
} as const;
