import { assert, assertEquals, assertMatch } from "@std/assert";
import { ABI_VERSIONS, abiOf } from "../../ffi/abi/abi.ts";
import { discoverTasks } from "../../lib/discovery.ts";
import { EnclaveError } from "../../lib/enclave.ts";
import { OperatingError } from "../../lib/errors.ts";
import { RUN_LOCAL } from "../../lib/policy.ts";
import { openGhostKernel } from "../../kernels/ghost/ghost_kernel.ts";
import { becomeGhostAgent } from "../../kernels/ghost/ghost_port.ts";
import {
  EBADF,
  EBUSY,
  EINVAL,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENXIO,
  EPERM,
  ESRCH,
} from "../../kernels/kernel.ts";
import { ERRNO } from "./abi_facts.ts";
import { LabProcess } from "./lab.ts";
import { ScriptedGhostfs } from "./scripted_ghostfs.ts";
import type { ScriptedThread } from "./scripted_process.ts";

const CREATE_QUEUE = "3222824707";

/** What opening the kernel says. */
function openFault(ghostfs: ScriptedGhostfs, options = {}, is_root = true): OperatingError {
  const host = ghostfs.process({ is_root }).thread();
  const error = openGhostKernel({ host, ...options });
  assert(error instanceof OperatingError, String(error));
  return error;
}

/** What an enclave is refused with. */
function refusal(act: () => unknown): EnclaveError {
  try {
    act();
  } catch (error) {
    assert(error instanceof EnclaveError);
    return error;
  }
  throw new Error("nothing was refused");
}

/** What a thread that wants to be an agent is told. */
function openAgent(
  host: ScriptedThread,
  ctl_fd: number,
  version: number,
  cpu: number,
  queue_fd: number,
): number {
  const port = becomeGhostAgent(host, { ctl_fd, abi: abiOf(version)!, cpu, queue_fd });
  assert(typeof port === "number", "it became an agent");
  return port;
}

/** A process with one thing that fails, and nothing else that is left behind. */
function assertClean(process: LabProcess): void {
  process.kernel.close();
  assertEquals(process.process.openCount(), 0, "descriptors left open");
  assertEquals(process.process.memory.mappingCount(), 0, "memory left mapped");
}

Deno.test("a kernel without ghOSt is said to be one, with the ways on", () => {
  const error = openFault(new ScriptedGhostfs({ lacks_ghost: true }));
  assertMatch(error.message, /no ghOSt class; .*--kernel=scx.*ghostctl doctor/);
});

Deno.test("ghostfs is mounted where it is not, and only root can", () => {
  const ghostfs = new ScriptedGhostfs({ is_unmounted: true });
  const error = openFault(ghostfs, {}, false);
  assertMatch(error.message, /EPERM.*mount -t ghost ghost \/sys\/fs\/ghost/);
  const process = new LabProcess(ghostfs);
  assertEquals([ghostfs.is_mounted, process.kernel.enclaveIds()], [true, []]);
});

Deno.test("a user without CAP_SYS_NICE is refused before anything is made", () => {
  const ghostfs = new ScriptedGhostfs();
  const error = openFault(ghostfs, {}, false);
  assertEquals([error.exit_status, ghostfs.commands], [1, []]);
  assertMatch(error.message, /CAP_SYS_NICE; run as root/);
});

Deno.test("a kernel of an unknown ABI is told both sides' versions and what to do", () => {
  const newer = openFault(new ScriptedGhostfs({ versions: [95, 96] }));
  assertMatch(newer.message, /speaks ghOSt ABI 95, 96, this agent 69, 84, 90, 91; take a newer/);
  const older = openFault(new ScriptedGhostfs({ versions: [60] }));
  assertMatch(older.message, /ABI 60, .*boot a newer ghOSt kernel/);
  const between = openFault(new ScriptedGhostfs({ versions: [88] }));
  assertMatch(between.message, /ABI 88, .*boot a ghOSt kernel of ABI 69, 84, 90, 91/);
  assertMatch(openFault(new ScriptedGhostfs({ versions: [] })).message, /ABI none, this agent/);
});

Deno.test("of several versions the newest that both sides speak is chosen", () => {
  const speaks = (versions: readonly number[], options = {}) =>
    new LabProcess(new ScriptedGhostfs({ versions }), options).kernel.abi.version;
  assertEquals(speaks([69, 84]), 84);
  assertEquals(speaks([90, 69, 95]), 90);
  assertEquals(speaks([69, 84, 90, 91], { abi_version: 69 }), 69);
  const lacking = openFault(new ScriptedGhostfs({ versions: [84] }), { abi_version: 69 });
  assertMatch(lacking.message, /the kernel speaks ghOSt ABI 84, this agent 69/);
});

Deno.test("the first enclave decides which ABI is spoken; one that nobody speaks is refused", () => {
  const ghostfs = new ScriptedGhostfs({ versions: [69, 88, 91] });
  new LabProcess(ghostfs, { abi_version: 69 }).create([0]);
  new LabProcess(ghostfs).create([1]);
  assertEquals(ghostfs.createEnclave("create 3 88"), 0);
  const process = new LabProcess(ghostfs);
  assertEquals(process.kernel.attachEnclave(3), -ESRCH);
  assertEquals([process.kernel.abi.version, process.kernel.capabilities.size], [91, 14]);
  const on_it = process.policyOn(process.attach(1));
  assertEquals([process.kernel.abi.version, process.kernel.capabilities.size], [69, 10]);
  assertEquals(process.start(on_it)[0].thread.cpu, 0);
  assertEquals(process.kernel.attachEnclave(2), -ESRCH);
  assertEquals(process.kernel.abi.version, 69);
});

Deno.test("an enclave that does not exist is not found, whatever its path looks like", () => {
  const { kernel, ...process } = new LabProcess(new ScriptedGhostfs());
  assertEquals(kernel.attachEnclave(7), -ENOENT);
  assertEquals(kernel.enclaveIdOf("/sys/fs/ghost/enclave_12/"), 12);
  assertEquals(kernel.enclaveIdOf("enclave_3"), 3);
  for (const path of ["/tmp/enclave_1", "/sys/fs/ghost/enclave_x", "seven", "enclave_-1", ""]) {
    assertEquals(kernel.enclaveIdOf(path), undefined, path);
  }
  assertEquals(process.process.openCount(), 0);
});

for (const version of ABI_VERSIONS) {
  Deno.test(`ABI ${version}: an enclave that dies while it is attached leaves nothing open`, () => {
    const files = ["enclave_1", "ctl", "abi_version", "cpu_data", "sw_regions/sw_0", "cpulist"];
    for (const file of files) {
      const ghostfs = new ScriptedGhostfs({ versions: [version] });
      new LabProcess(ghostfs).create([0]);
      const process = new LabProcess(ghostfs);
      ghostfs.fail("open", file, ERRNO.ENODEV);
      assertEquals(process.kernel.attachEnclave(1), -ENODEV, file);
      assertClean(process);
    }
  });

  Deno.test(`ABI ${version}: memory that cannot be mapped refuses the enclave, cleanly`, () => {
    for (const file of ["cpu_data", "sw_regions/sw_0"]) {
      const ghostfs = new ScriptedGhostfs({ versions: [version] });
      const process = new LabProcess(ghostfs);
      ghostfs.fail("mmap", file, ERRNO.ENOMEM);
      assertEquals(process.kernel.createEnclave([0], version), -ENOMEM, file);
      ghostfs.sleep(200);
      assertEquals(process.kernel.enclaveIds(), [], "the enclave is taken back");
      assertClean(process);
    }
  });

  Deno.test(`ABI ${version}: a queue that cannot be made or mapped leaves no queue`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version] });
    const process = new LabProcess(ghostfs);
    const enclave = process.create([0]);
    for (const elem_count of [0, 3, 131072, -8]) {
      assertEquals(enclave.createQueue(elem_count, 0, 0), -EINVAL, `${elem_count} elements`);
    }
    assertEquals([enclave.createQueue(8, 5, 0), enclave.createQueue(8, 0, 1)], [-EINVAL, -EINVAL]);
    ghostfs.fail("ioctl", CREATE_QUEUE, ERRNO.ENOMEM);
    assertEquals(enclave.createQueue(8, 0, 0), -ENOMEM);
    ghostfs.fail("mmap", "queue", ERRNO.ENOMEM);
    assertEquals(enclave.createQueue(8, 0, 0), -ENOMEM);
    assertEquals(enclave.setDefaultQueue(99), -EBADF);
    assertEquals(enclave.configQueueWakeup(99, [0], 0), -EBADF);
    const queue = enclave.createQueue(8, 0, 0);
    assert(typeof queue !== "number");
    assertEquals(enclave.configQueueWakeup(queue.id, [0, 1, 2], 0), -EINVAL);
    assertEquals(enclave.configQueueWakeup(queue.id, [9], 0), -EINVAL);
    assertEquals(enclave.configQueueWakeup(queue.id, [0], 1), -EINVAL);
    assertEquals(enclave.configQueueWakeup(queue.id, [2, 1], 0), 0);
    assertEquals([enclave.closeQueue(queue.id), enclave.closeQueue(queue.id)], [0, -EBADF]);
    assertEquals(enclave.associateAgent(queue.id, 0, 0), -EINVAL);
    assertClean(process);
  });

  Deno.test(`ABI ${version}: a CPU of another enclave is refused, and the new enclave goes`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version], has_offline_cpu: true });
    const first = new LabProcess(ghostfs);
    first.create([0, 1]);
    const process = new LabProcess(ghostfs);
    assertEquals(process.kernel.createEnclave([1, 2], version), -EBUSY);
    assertEquals(process.kernel.createEnclave([3], version), -ENODEV);
    assertEquals(process.kernel.createEnclave([9], version), -ENODEV);
    assertEquals(process.kernel.createEnclave([512], version), -EINVAL);
    ghostfs.sleep(200);
    assertEquals(process.kernel.enclaveIds(), [1]);
    assertClean(process);
  });

  Deno.test(`ABI ${version}: CPUs of an enclave that is still going are waited for`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version], cpu_release_ms: 320 });
    const process = new LabProcess(ghostfs);
    process.create([0, 1]).destroy();
    const begin_ns = ghostfs.nowNs();
    const enclave = process.create([0, 1]);
    assertEquals([enclave.id, enclave.cpus()], [2, [0, 1]]);
    assertEquals((ghostfs.nowNs() - begin_ns) / 1e6, 350);
  });

  Deno.test(`ABI ${version}: an agent that is online keeps others out`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version] });
    const old = new LabProcess(ghostfs);
    const on_it = old.policyOn(old.create([0]));
    old.start(on_it);
    const process = new LabProcess(ghostfs);
    const enclave = process.attach(1);
    assertEquals([enclave.isOnline(), enclave.setOnline(true)], [true, -EBUSY]);
    const error = refusal(() => process.policyOn(enclave));
    assertEquals([error.errno, ghostfs.enclaves.get(1)!.is_online], [EBUSY, true]);
    assertEquals(enclave.setCpus([1]), -ERRNO.EEXIST);
    assertClean(process);
    assertEquals(ghostfs.enclaves.get(1)!.default_queue === undefined, false);
  });

  Deno.test(`ABI ${version}: of two that race for an enclave one wins, the other says so`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version] });
    new LabProcess(ghostfs).create([0, 1]);
    const [first, second] = [new LabProcess(ghostfs), new LabProcess(ghostfs)];
    const [one, other] = [first.attach(1), second.attach(1)];
    assertEquals([one.isOnline(), other.isOnline()], [false, false]);
    const winner = first.policyOn(one);
    const error = refusal(() => second.policyOn(other));
    assertEquals(error.errno, EBUSY);
    assertClean(second);
    assertEquals(first.start(winner).length, 2);
    // The winner's death lets another one in.
    first.process.crash();
    const third = new LabProcess(ghostfs);
    assertEquals(third.start(third.policyOn(third.attach(1))).length, 2);
  });

  Deno.test(`ABI ${version}: a thread that cannot become an agent is told why`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version], status_capacity: 2 });
    const process = new LabProcess(ghostfs);
    const enclave = process.create([0, 1, 2]);
    const on = (queue_id: number, cpu: number) => {
      const thread = process.process.thread();
      const open_count = process.process.openCount();
      thread.pinThread(cpu);
      const result = process.kernel.attachEnclave(1);
      assert(typeof result !== "number");
      const refused = openAgent(thread, result.port_handles.ctl_fd, version, cpu, queue_id);
      result.release();
      assertEquals(process.process.openCount(), open_count, "descriptors left open");
      return refused;
    };
    assertEquals(on(-1, 0), -ENXIO);
    assertEquals(on(99, 0), -EBADF);
    assertEquals(on(-5, 0), -EBADF);
    const queue = enclave.createQueue(8, 0, 0);
    assert(typeof queue !== "number");
    assertEquals(on(queue.id, 3), -ENODEV);
    ghostfs.fail("timerfd_create", "", 24);
    assertEquals(on(queue.id, 0), -24);
    ghostfs.fail("write", "become agent", ERRNO.EPERM);
    assertEquals(on(queue.id, 0), -EPERM);
    for (const cpu of [0, 1]) {
      assert(typeof process.openPort(process.policyOn(enclave), cpu)[1] !== "number");
    }
    assertEquals(on(queue.id, 0), -EBUSY);
    // A kernel that takes the command and does something else.
    ghostfs.fail("become", "", 0);
    assertEquals(on(queue.id, 0), -EINVAL);
    assertEquals(on(queue.id, 2), -ENOMEM);
  });

  Deno.test(`ABI ${version}: a status word that is not free yet is waited for a while`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version], agent_release_ms: 50 });
    const process = new LabProcess(ghostfs);
    const enclave = process.create([0]);
    const on_it = process.policyOn(enclave);
    const [agent] = process.start(on_it);
    const begin_ns = ghostfs.nowNs();
    assertEquals(enclave.freeStatusWord(agent.port.status_index), -EINVAL);
    assertEquals((ghostfs.nowNs() - begin_ns) / 1e6, 200);
    assertEquals(process.stop(on_it, [agent]), [0]);
    assertEquals(enclave.freeStatusWord(5), -EINVAL);
    assertEquals((ghostfs.nowNs() - begin_ns) / 1e6, 250);
  });

  Deno.test(`ABI ${version}: messages that do not fit are counted, and the tasks found`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version] });
    const process = new LabProcess(ghostfs);
    const on_it = process.policyOn(process.create([0]), { queue_elem_count: 16 });
    const [agent] = process.start(on_it);
    const threads = Array.from({ length: 12 }, () => ghostfs.thread());
    for (const { tid } of threads) assertEquals(on_it.control.join(tid), 0);
    assert(on_it.queues[0].words[16 + 2] > 0, "no overflow");
    for (let n = 0; n < 8; n++) {
      if (agent.policy.step() === RUN_LOCAL) agent.port.localCommit();
    }
    const known = threads.filter(({ gtid }) =>
      agent.context.tasks.find(Number(gtid & 0xffffffffn) | 0, Number(gtid >> 32n)) >= 0
    );
    assertEquals(known.length, threads.length);
  });

  Deno.test(`ABI ${version}: a thread that dies during discovery is left out`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version] });
    const old = new LabProcess(ghostfs);
    const old_policy = old.policyOn(old.create([0]));
    old.start(old_policy);
    const [staying, dying] = [ghostfs.thread(), ghostfs.thread()];
    for (const { tid } of [staying, dying]) old_policy.control.join(tid);
    old.process.crash();
    const process = new LabProcess(ghostfs);
    const on_it = process.policyOn(process.attach(1));
    const [, port] = process.openPort(on_it, 0);
    assert(typeof port !== "number");
    const context = on_it.context(port);
    const model = ghostfs.enclaves.get(1)!;
    const word = model.tasks.get(dying.gtid)!.index;
    const found: number[] = [];
    const is_complete = discoverTasks(context, {
      found: (index) => {
        found.push(index);
        ghostfs.endThread(dying);
      },
    });
    assertEquals([is_complete, found], [true, [model.tasks.get(staying.gtid)!.index]]);
    assertEquals(model.flags(word), 0);
  });

  Deno.test(`ABI ${version}: a thread that cannot join is told why`, () => {
    const ghostfs = new ScriptedGhostfs({ versions: [version], status_capacity: 1 });
    const enclave = new LabProcess(ghostfs).create([0]);
    const [thread, other] = [ghostfs.thread(), ghostfs.thread()];
    assertEquals([enclave.join(5), enclave.join(-1)], [-ESRCH, -EINVAL]);
    assertEquals(enclave.join(thread.tid), 0);
    assertEquals(enclave.join(thread.tid), -EPERM);
    assertEquals(enclave.join(other.tid), -ENOMEM);
    assertEquals(enclave.taskTids(), [thread.tid]);
    assertEquals(enclave.writeTunable("runnable_timeout", NaN), -EINVAL);
  });
}
