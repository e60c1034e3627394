/**
 * The ioctls of the scripted ghostfs: reads the structs byte by byte where the kernel does, and
 * checks what the kernel checks, in its order (reference section 1.2).
 *
 * @module
 */
import { ERRNO, IOCTL } from "./abi_facts.ts";
import type { ModelEnclave, ModelQueue } from "./enclave_model.ts";
import type { UserMemory } from "./user_memory.ts";

const MASK_BYTES = 128;
const GHOST_AGENT = 0;
const GHOST_TASK = 1;
const RTLA_ON_IDLE = 32;
const FIOCLEX = 0x5451;

/** A timer that was armed. */
export interface ArmedTimer {
  readonly fd: number;
  readonly deadline_ns: number;
  readonly cpu: number;
  readonly type: bigint;
  readonly cookie: bigint;
}

/** The thread that makes a call, as an ioctl sees it. */
export interface IoctlCaller {
  readonly memory: UserMemory;
  readonly pid: number;
  readonly cpu: number;
  readonly has_cap_sys_nice: boolean;
  /** CPUs that are online. */
  readonly online_cpus: readonly number[];
  /** The queue of a descriptor. */
  queueOf(fd: number): ModelQueue | undefined;
  /** A new descriptor for a queue. */
  openQueue(queue: ModelQueue): number;
  /** True for a timer's descriptor. */
  isTimer(fd: number): boolean;
  /** Remembers a timer. */
  arm(timer: ArmedTimer): void;
  /** Runtime of a thread in ns, or undefined. */
  runtimeNs(gtid: bigint): bigint | undefined;
}

/** The ioctls of one enclave. */
export class IoctlModel {
  readonly #enclave: ModelEnclave;
  readonly #caller: IoctlCaller;

  constructor(enclave: ModelEnclave, caller: IoctlCaller) {
    this.#enclave = enclave;
    this.#caller = caller;
  }

  /** Carries one out: ≥ 0 or −errno. */
  call(code: number, address: number): number {
    switch (code) {
      case IOCTL.NULL:
      case FIOCLEX:
        return 0;
      case IOCTL.SW_GET_INFO:
        return this.#struct(address, 24, (arg) => this.#statusInfo(arg));
      case IOCTL.SW_FREE:
        return this.#struct(address, 8, (arg) => this.#freeWord(arg));
      case IOCTL.CREATE_QUEUE:
        return this.#struct(address, 24, (arg) => this.#createQueue(arg));
      case IOCTL.ASSOC_QUEUE:
        return this.#struct(address, 32, (arg) => this.#associate(arg));
      case IOCTL.SET_DEFAULT_QUEUE:
        return this.#struct(address, 4, (arg) => this.#setDefault(arg));
      case IOCTL.CONFIG_QUEUE_WAKEUP:
        return this.#struct(address, 24, (arg) => this.#configWakeup(arg));
      case IOCTL.GET_CPU_TIME:
        return this.#struct(address, 16, (arg) => this.#cpuTime(arg));
      case IOCTL.COMMIT_TXN:
        return this.#struct(address, 16, (arg) => this.#commit(arg, false));
      case IOCTL.SYNC_GROUP_TXN:
        return this.#struct(address, 16, (arg) => this.#commit(arg, true));
      case IOCTL.TIMERFD_SETTIME:
        return this.#struct(address, 48, (arg) => this.#armTimer(arg));
      case IOCTL.RUN:
        if (!this.#caller.has_cap_sys_nice) return -ERRNO.EPERM;
        return this.#struct(address, 24, (arg) => this.#run(arg));
    }
    return -ERRNO.ENOTTY;
  }

  #struct(address: number, size_bytes: number, act: (arg: DataView) => number): number {
    const arg = this.#caller.memory.read(address, size_bytes);
    return arg === undefined ? -ERRNO.EFAULT : act(arg);
  }

  #pointed(arg: DataView, at: number, size_bytes: number): DataView | undefined {
    return this.#caller.memory.read(Number(arg.getBigUint64(at, true)), size_bytes);
  }

  #statusInfo(arg: DataView): number {
    const { agents, cpus, facts, tasks } = this.#enclave;
    const type = arg.getUint32(0, true);
    const value = arg.getBigUint64(8, true);
    if (type !== GHOST_AGENT && type !== GHOST_TASK) return -ERRNO.EINVAL;
    if (type === GHOST_AGENT && !cpus.has(Number(value))) return -facts.bad_cpu_errno;
    const member = type === GHOST_AGENT ? agents.get(Number(value)) : tasks.get(value);
    if (member === undefined) return type === GHOST_AGENT ? -ERRNO.EINVAL : -ERRNO.ENOENT;
    arg.setUint32(16, 0, true);
    arg.setUint32(20, member.index, true);
    return 0;
  }

  #freeWord(arg: DataView): number {
    return this.#enclave.freeWord(arg.getUint32(0, true), arg.getUint32(4, true));
  }

  #createQueue(arg: DataView): number {
    const queue = this.#enclave.createQueue(arg.getInt32(0, true));
    if (queue === undefined) return -ERRNO.EINVAL;
    const is_node = arg.getInt32(4, true) === 0;
    if (!is_node || arg.getInt32(8, true) !== 0) return -ERRNO.EINVAL;
    arg.setBigUint64(16, BigInt(queue.file.bytes.byteLength), true);
    return this.#caller.openQueue(queue);
  }

  #associate(arg: DataView): number {
    if (arg.getInt32(28, true) !== 0) return -ERRNO.EINVAL;
    if (arg.getUint32(8, true) !== GHOST_TASK) return -ERRNO.EINVAL;
    const queue = this.#caller.queueOf(arg.getInt32(0, true));
    if (queue === undefined) return -ERRNO.EBADF;
    const task = this.#enclave.tasks.get(arg.getBigUint64(16, true));
    if (task === undefined) return -ERRNO.ENOENT;
    if (arg.getUint32(24, true) !== this.#enclave.barrier(task.index)) return -ERRNO.ESTALE;
    const status = (task.queue === queue ? 1 : 0) | (task.is_new ? 2 : 0);
    task.queue = queue;
    return status;
  }

  #setDefault(arg: DataView): number {
    const queue = this.#caller.queueOf(arg.getInt32(0, true));
    if (queue === undefined) return -ERRNO.EBADF;
    if (queue.enclave !== this.#enclave) return -ERRNO.EINVAL;
    this.#enclave.default_queue = queue;
    return 0;
  }

  #configWakeup(arg: DataView): number {
    const count = arg.getInt32(16, true);
    if (count < 0 || count > 2 || arg.getInt32(20, true) !== 0) return -ERRNO.EINVAL;
    const queue = this.#caller.queueOf(arg.getInt32(0, true));
    if (queue === undefined) return -ERRNO.EBADF;
    const list = count === 0 ? undefined : this.#pointed(arg, 8, count * 8);
    if (count > 0 && list === undefined) return -ERRNO.EFAULT;
    const cpus: number[] = [];
    for (let n = 0; n < count; n++) {
      const cpu = list!.getInt32(n * 8, true);
      const has_prio = list!.getInt32(n * 8 + 4, true) !== 0;
      if (has_prio || !this.#caller.online_cpus.includes(cpu)) return -ERRNO.EINVAL;
      cpus.push(cpu);
    }
    queue.wakeup = cpus;
    return 0;
  }

  #cpuTime(arg: DataView): number {
    const runtime = this.#caller.runtimeNs(arg.getBigUint64(0, true));
    if (runtime === undefined) return -ERRNO.ESRCH;
    arg.setBigUint64(8, runtime, true);
    return 0;
  }

  #commit(arg: DataView, is_group: boolean): number {
    if (arg.getInt32(12, true) !== 0) return -ERRNO.EINVAL;
    // Upstream always passes a whole cpu_set_t, and so do we.
    if (arg.getUint32(8, true) !== MASK_BYTES) return -ERRNO.EINVAL;
    const mask = this.#pointed(arg, 0, MASK_BYTES);
    if (mask === undefined) return -ERRNO.EFAULT;
    let failed = false;
    for (let cpu = 0; cpu < MASK_BYTES * 8; cpu++) {
      if ((mask.getUint8(cpu >> 3) & (1 << (cpu & 7))) === 0) continue;
      failed = !this.#enclave.commit(cpu) || failed;
    }
    return is_group && !failed ? 1 : 0;
  }

  #armTimer(arg: DataView): number {
    const spec = this.#pointed(arg, 8, 32);
    if (spec === undefined) return -ERRNO.EFAULT;
    const flags = arg.getInt32(28, true);
    const cpu = arg.getInt32(24, true);
    if ((flags & ~1) !== 0) return -ERRNO.EINVAL;
    if (flags === 1 && this.#enclave.agents.get(cpu)?.pid !== this.#caller.pid) {
      return -ERRNO.EINVAL;
    }
    const fd = arg.getInt32(0, true);
    const nanoseconds = spec.getBigInt64(24, true);
    const is_periodic = spec.getBigInt64(0, true) !== 0n || spec.getBigInt64(8, true) !== 0n;
    if (!this.#caller.isTimer(fd)) return -ERRNO.EBADF;
    if (arg.getInt32(4, true) !== 1 || is_periodic) return -ERRNO.EINVAL;
    if (nanoseconds < 0n || nanoseconds > 999_999_999n) return -ERRNO.EINVAL;
    if (arg.getBigUint64(16, true) !== 0n) return -ERRNO.EFAULT;
    const deadline_ns = Number(spec.getBigInt64(16, true)) * 1e9 + Number(nanoseconds);
    const type = arg.getBigUint64(32, true);
    this.#caller.arm({ fd, deadline_ns, cpu, type, cookie: arg.getBigUint64(40, true) });
    return 0;
  }

  #run(arg: DataView): number {
    const gtid = arg.getBigInt64(0, true);
    const cpu = arg.getInt32(16, true);
    const flags = arg.getInt32(20, true);
    if (!this.#caller.online_cpus.includes(cpu)) return -ERRNO.EINVAL;
    if ((flags & ~RTLA_ON_IDLE) !== 0 || (flags !== 0 && gtid < 0n)) return -ERRNO.EINVAL;
    if (gtid !== 0n && gtid !== -1n) return -ERRNO.EINVAL;
    if (gtid === 0n && cpu !== this.#caller.cpu) return -ERRNO.EINVAL;
    const agent = this.#enclave.agents.get(cpu);
    if (agent === undefined) return -ERRNO.EINVAL;
    if (gtid === -1n) {
      if (agent.pid !== this.#caller.pid) return -ERRNO.EINVAL;
      this.#enclave.bump(agent.index);
      return 0;
    }
    const is_stale = arg.getUint32(8, true) !== this.#enclave.barrier(agent.index);
    return is_stale ? -ERRNO.ESTALE : 0;
  }
}
