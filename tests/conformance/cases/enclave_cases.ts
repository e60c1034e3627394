/**
 * Enclaves, their CPUs, their tunables, and who is online (reference sections 2.2 to 2.4).
 *
 * @module
 */
import { EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ESRCH } from "../../../kernels/kernel.ts";
import { LEAVE } from "../agent_commands.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectEqual, expectOk } from "../expect.ts";
import { createEnclave, Lab } from "../lab.ts";

const CREATE_CASES: readonly ContractCase[] = [
  {
    name: "enclave: one that was created is listed, can be opened again, and has its CPUs",
    cpu_count: 4,
    run: (host) => {
      const { kernel } = host;
      const control = createEnclave(host, [2, 1]);
      expectEqual(control.cpus(), [1, 2], "CPUs, ascending");
      expect(kernel.enclaveIds().includes(control.id), "listed");
      const again = expectOk(kernel.attachEnclave(control.id), "attach");
      expectEqual(typeof again === "object" && again.id, control.id, "the same enclave");
      expect(!control.isDestroyed() && !control.isOnline(), "neither destroyed nor online");
      return Promise.resolve();
    },
  },
  {
    name: "enclave: two on different CPUs have different ids and records",
    cpu_count: 4,
    run: (host) => {
      const [first, second] = [createEnclave(host, [0, 1]), createEnclave(host, [2, 3])];
      expect(first.id !== second.id, "ids differ");
      expect(first.cpu_data !== second.cpu_data, "records differ");
      return Promise.resolve();
    },
  },
  {
    name: "enclave: an ABI that the kernel does not speak is ESRCH",
    rule: "enclave.abi",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      for (const version of [0, 70, 1000]) {
        expectEqual(host.kernel.createEnclave([0], version), -ESRCH, `ABI ${version}`);
      }
      expectEqual(host.kernel.enclaveIds(), [], "enclaves");
      return Promise.resolve();
    },
  },
  {
    name: "enclave: attaching to an id that is not there is ENOENT",
    rule: "enclave.unknown",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      expectEqual(host.kernel.attachEnclave(control.id + 1), -ENOENT, "another id");
      control.destroy();
      expectEqual(host.kernel.attachEnclave(control.id), -ENOENT, "the id of one that is gone");
      return Promise.resolve();
    },
  },
];

const CPU_CASES: readonly ContractCase[] = [
  {
    name: "CPUs: a CPU of another enclave is EBUSY, and nothing is half created",
    rule: "cpus.taken",
    negative: true,
    cpu_count: 3,
    run: async (host) => {
      const first = createEnclave(host, [0, 1]);
      const { kernel } = host;
      const refused = kernel.createEnclave([1, 2], kernel.abi.version);
      expectEqual(typeof refused === "number" ? refused : 0, -EBUSY, "create");
      const ids = (): string => kernel.enclaveIds().join();
      await host.until(() => ids() === `${first.id}`, "the first enclave is the only one");
      const second = createEnclave(host, [2]);
      expectEqual(second.setCpus([1, 2]), -EBUSY, "setCpus");
      expectEqual(second.cpus(), [2], "CPUs after the refusal");
    },
  },
  {
    name: "CPUs: a CPU that is off or not there is ENODEV",
    rule: "cpus.offline",
    negative: true,
    needs: ["offline_cpu"],
    cpu_count: 2,
    run: (host) => {
      const control = createEnclave(host, [0]);
      for (const cpu of [host.offline_cpu, host.missing_cpu]) {
        expectEqual(control.setCpus([0, cpu]), -ENODEV, `CPU ${cpu}`);
        const { kernel } = host;
        const refused = kernel.createEnclave([1, cpu], kernel.abi.version);
        expectEqual(typeof refused === "number" ? refused : 0, -ENODEV, `create with ${cpu}`);
      }
      expectEqual(control.cpus(), [0], "CPUs after the refusals");
      return Promise.resolve();
    },
  },
  {
    name: "CPUs: a CPU that has an agent cannot be taken out: EEXIST",
    rule: "cpus.has_agent",
    negative: true,
    cpu_count: 3,
    run: async (host) => {
      const lab = await Lab.open(host, { agents: [0, 1] });
      expectEqual(lab.control.setCpus([0, 2]), -EEXIST, "without CPU 1");
      expectEqual(lab.control.cpus(), [0, 1, 2], "CPUs after the refusal");
      expectEqual(lab.control.setCpus([0, 1]), 0, "without CPU 2, which has none");
      await lab.call(1, LEAVE);
      await lab.until(() => lab.control.setCpus([0]) === 0, "CPU 1 can go after its agent left");
    },
  },
  {
    name: "CPUs: they can be added and taken out, and are free afterwards",
    cpu_count: 4,
    run: (host) => {
      const control = createEnclave(host, [0]);
      expectEqual(control.setCpus([3, 0, 1]), 0, "more");
      expectEqual(control.cpus(), [0, 1, 3], "CPUs");
      expectEqual(control.setCpus([1]), 0, "fewer");
      expectEqual(createEnclave(host, [0, 3]).cpus(), [0, 3], "CPUs of another enclave");
      expectEqual(control.setCpus([]), 0, "none");
      expectEqual(control.cpus(), [], "no CPUs");
      return Promise.resolve();
    },
  },
];

const BOOLEANS = ["commit_at_tick", "deliver_ticks", "live_dangerously", "switchto_disabled"];

const TUNABLE_CASES: readonly ContractCase[] = [
  {
    name: "tunable: each is 0 at first and keeps what is written",
    abi_versions: [69, 84, 90, 91],
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      for (const name of host.kernel.abi.tunables) {
        expectEqual(control.readTunable(name), 0, `${name} at first`);
        expectEqual(control.writeTunable(name, 1), 0, `write ${name}`);
        expectEqual(control.readTunable(name), 1, name);
        expectEqual(control.writeTunable(name, 0), 0, `clear ${name}`);
        expectEqual(control.readTunable(name), 0, `${name} cleared`);
      }
      expectEqual(control.writeTunable("runnable_timeout", 2500), 0, "write a time");
      expectEqual(control.readTunable("runnable_timeout"), 2500, "runnable_timeout in ms");
      return Promise.resolve();
    },
  },
  {
    name: "tunable: one that the ABI does not have is ENOENT",
    rule: "tunable.unknown",
    negative: true,
    abi_versions: [69, 91],
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      const old = host.kernel.abi.version < 71;
      for (const name of ["deliver_everything", ...(old ? ["deliver_cpu_availability"] : [])]) {
        expectEqual(control.readTunable(name), -ENOENT, `read ${name}`);
        expectEqual(control.writeTunable(name, 1), -ENOENT, `write ${name}`);
      }
      return Promise.resolve();
    },
  },
  {
    name: "tunable: a value that is no int is EINVAL and changes nothing",
    rule: "tunable.value",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      for (const value of [1.5, NaN, Infinity, 2 ** 31, 2 ** 40]) {
        expectEqual(control.writeTunable("deliver_ticks", value), -EINVAL, `write ${value}`);
      }
      expectEqual(control.readTunable("deliver_ticks"), 0, "deliver_ticks");
      return Promise.resolve();
    },
  },
  {
    name: "tunable: a boolean does not read back as anything but 0 and 1",
    rule: "tunable.boolean",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      for (const name of BOOLEANS) {
        expectEqual(control.writeTunable(name, 5), 0, `write ${name}`);
        expectEqual(control.readTunable(name), 1, name);
      }
      return Promise.resolve();
    },
  },
];

const ONLINE_CASES: readonly ContractCase[] = [
  {
    name: "online: a second process that opens agent_online gets EBUSY",
    rule: "online.single",
    negative: true,
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      expectEqual(control.setOnline(true), 0, "the first");
      expectEqual(control.setOnline(true), -EBUSY, "the second");
      expect(control.isOnline(), "still online");
      return Promise.resolve();
    },
  },
  {
    name: "online: closing agent_online makes room for the next",
    cpu_count: 1,
    run: (host) => {
      const control = createEnclave(host, [0]);
      expectEqual(control.setOnline(true), 0, "the first");
      expectEqual(control.setOnline(false), 0, "it closes");
      expect(!control.isOnline(), "offline");
      expectEqual(control.setOnline(true), 0, "the next");
      expect(control.isOnline(), "online");
      return Promise.resolve();
    },
  },
];

/** Enclaves as such. */
export const ENCLAVE_CASES: readonly ContractCase[] = [
  ...CREATE_CASES,
  ...CPU_CASES,
  ...TUNABLE_CASES,
  ...ONLINE_CASES,
];
