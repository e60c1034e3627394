/**
 * The files of an enclave in the scripted ghostfs, and the commands of its `ctl` (reference
 * section 2.3).
 *
 * @module
 */
import { ERRNO } from "./abi_facts.ts";
import type { ModelEnclave } from "./enclave_model.ts";
import type { ScriptedThread } from "./scripted_process.ts";
import type { MappedFile } from "./user_memory.ts";

const O_ACCESS = 3;

/** Modes of the files whose mode matters: what root may, and what others may. */
const MODES: Readonly<Record<string, number>> = {
  abi_version: 0o444,
  agent_online: 0o664,
  cpu_data: 0o660,
  cpulist: 0o664,
  cpumask: 0o664,
  ctl: 0o664,
  status: 0o444,
  "sw_regions/sw_0": 0o440,
  tasks: 0o666,
};

/** Who holds the lock of an enclave's ctl. */
const LOCKS = new WeakMap<ModelEnclave, EnclaveFileModel>();

/** An open file of an enclave. */
export class EnclaveFileModel {
  readonly enclave: ModelEnclave;
  readonly name: string;
  readonly can_read: boolean;
  readonly can_write: boolean;

  private constructor(enclave: ModelEnclave, name: string, flags: number) {
    this.enclave = enclave;
    this.name = name;
    this.can_read = (flags & O_ACCESS) !== 1;
    this.can_write = (flags & O_ACCESS) !== 0;
  }

  /** Opens a file: it, or −errno. */
  static open(
    enclave: ModelEnclave,
    name: string,
    flags: number,
    thread: ScriptedThread,
  ): EnclaveFileModel | number {
    // Agents must not open files: the kernel warns of a deadlock.
    if (thread.agent_of !== undefined) throw new Error(`an agent opens ${name}`);
    const is_gone = enclave.is_removed || (enclave.is_dying && name === "ctl");
    const mode = MODES[name] ?? (enclave.tunables.has(name) ? 0o664 : undefined);
    const is_missing = name === "sw_regions/sw_0" && enclave.status === undefined;
    if (is_gone || mode === undefined || is_missing) return -ERRNO.ENOENT;
    const file = new EnclaveFileModel(enclave, name, flags);
    if (file.can_write && (mode & 0o222) === 0) return -ERRNO.EACCES;
    if (!thread.process.is_root) {
      const wanted = (file.can_read ? 4 : 0) | (file.can_write ? 2 : 0);
      if ((mode & wanted) !== wanted) return -ERRNO.EACCES;
    }
    if (name === "agent_online" && file.can_write) {
      if (enclave.is_online) return -ERRNO.EBUSY;
      enclave.is_online = true;
    }
    return file;
  }

  /** The file is closed. */
  release(): void {
    if (this.name === "agent_online" && this.can_write) this.enclave.is_online = false;
    this.unlock();
  }

  /** `flock` without waiting: 0 or −EAGAIN. */
  lock(): number {
    const holder = LOCKS.get(this.enclave);
    if (holder !== undefined && holder !== this) return -ERRNO.EAGAIN;
    LOCKS.set(this.enclave, this);
    return 0;
  }

  /** Gives the lock up. */
  unlock(): number {
    if (LOCKS.get(this.enclave) === this) LOCKS.delete(this.enclave);
    return 0;
  }

  get #is_gone(): boolean {
    return this.enclave.is_removed || (this.enclave.is_dying && this.name === "ctl");
  }

  /** The memory that mmap shows, or −errno. */
  mappable(): MappedFile | number {
    if (this.#is_gone) return -ERRNO.ENODEV;
    if (this.name === "cpu_data") return this.enclave.cpu_data;
    return this.name === "sw_regions/sw_0" ? this.enclave.status! : -ERRNO.ENODEV;
  }

  /** The text of the file, or −errno. */
  read(): string | number {
    if (this.#is_gone) return -ERRNO.ENODEV;
    if (!this.can_read) return -ERRNO.EBADF;
    const { enclave } = this;
    const cpus = [...enclave.cpus].sort((a, b) => a - b);
    switch (this.name) {
      case "abi_version":
        return `${enclave.version}\n`;
      case "agent_online":
        return enclave.is_online ? "1" : "0";
      case "cpulist":
        return `${cpus.join(",")}\n`;
      case "ctl":
        return String(enclave.id);
      case "tasks":
        return [...enclave.tasks.values()].map(({ tid }) => `${tid}\n`).join("");
    }
    const value = enclave.tunables.get(this.name);
    return value === undefined ? -ERRNO.EINVAL : String(value);
  }

  /** Writes in one call: ≥ 0 or −errno. */
  write(text: string, thread: ScriptedThread): number {
    if (this.#is_gone) return -ERRNO.ENODEV;
    if (!this.can_write) return -ERRNO.EBADF;
    thread.ghostfs.commands.push(`${this.name}: ${text}`);
    switch (this.name) {
      case "ctl":
        return this.#command(text, thread);
      case "cpumask":
        return this.#setMask(text, thread);
      case "tasks":
        return this.#join(text, thread);
    }
    if (!this.enclave.tunables.has(this.name)) return -ERRNO.EINVAL;
    if (!/^(0x[0-9a-f]+|-?[0-9]+)\n?$/.test(text)) return -ERRNO.EINVAL;
    const value = Number(text);
    this.enclave.tunables.set(this.name, this.name === "runnable_timeout" ? value : +(value !== 0));
    return 0;
  }

  #setMask(text: string, thread: ScriptedThread): number {
    const cpus: number[] = [];
    const groups = text.split(",");
    for (const [n, group] of groups.entries()) {
      if (!/^[0-9a-f]{1,8}$/.test(group)) return -ERRNO.EINVAL;
      const first = (groups.length - 1 - n) * 32;
      for (let bit = 0; bit < 32; bit++) {
        if (((parseInt(group, 16) >>> bit) & 1) !== 0) cpus.push(first + bit);
      }
    }
    return thread.ghostfs.setCpus(this.enclave, cpus);
  }

  #join(text: string, { ghostfs, process, tid }: ScriptedThread): number {
    if (!/^[0-9]+\n?$/.test(text)) return -ERRNO.EINVAL;
    const value = BigInt(text.trim());
    let found = ghostfs.findThread(Number(value));
    if (value >= 2n ** 31n) {
      if (!this.enclave.facts.takes_gtid) return -ERRNO.EINVAL;
      found = ghostfs.findByGtid(value);
    }
    if (found === undefined) return -ERRNO.ESRCH;
    if (!process.is_root && found.tid !== tid) return -ERRNO.EPERM;
    if (found.enclave !== undefined) return -ERRNO.EPERM;
    const result = this.enclave.join(found.tid, found.gtid, true);
    if (result >= 0) found.enclave = this.enclave;
    return result;
  }

  #command(text: string, thread: ScriptedThread): number {
    const { enclave } = this;
    const region = /^create sw_region (\d+) (\d+)$/.exec(text);
    if (region !== null) return enclave.createRegion(Number(region[1]), Number(region[2]));
    if (text.startsWith("become agent ")) return this.#becomeAgent(text, thread);
    switch (text) {
      case "destroy":
        thread.ghostfs.destroy(enclave);
        return 0;
      case "discover tasks":
        for (const task of enclave.tasks.values()) enclave.sendTaskNew(task);
        return 0;
    }
    return -ERRNO.EINVAL;
  }

  #becomeAgent(text: string, thread: ScriptedThread): number {
    const { enclave } = this;
    if (enclave.facts.become_agent_has_cpu) {
      const match = /^become agent (\d+) (-?\d+)$/.exec(text);
      if (match === null) return -ERRNO.EINVAL;
      const cpu = Number(match[1]);
      const before = { affinity: thread.affinity, cpu: thread.cpu };
      // This kernel pins the thread itself, and undoes that if it refuses.
      if (thread.pinThread(cpu) < 0) return -ERRNO.EINVAL;
      const result = thread.becomeAgent(enclave, cpu, Number(match[2]));
      if (result < 0) Object.assign(thread, before);
      return result;
    }
    // The trap of this kernel: a second number is not looked at, and the first is the queue.
    const match = /^become agent (-?\d+)/.exec(text);
    if (match === null) return -ERRNO.EINVAL;
    return thread.becomeAgent(enclave, thread.cpu, Number(match[1]));
  }
}
