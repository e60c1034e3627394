import { assertEquals } from "@std/assert";
import { ghostView } from "../../kernels/ghost/ghost_view.ts";
import { EACCES, ENOENT, EPERM, ESRCH } from "../../kernels/kernel.ts";
import { LabProcess } from "./lab.ts";
import { ScriptedGhostfs } from "./scripted_ghostfs.ts";

Deno.test("a view lists enclaves, and reads and writes their files without mapping any", () => {
  const ghostfs = new ScriptedGhostfs();
  const agents = new LabProcess(ghostfs);
  const on_it = agents.policyOn(agents.create([0, 2]));
  agents.start(on_it);
  agents.create([1]);
  const tool = ghostfs.process();
  const view = ghostView(tool.thread());
  const [first, second] = view.enclaves();
  assertEquals([view.kind, view.enclaves().length], ["ghost", 2]);
  assertEquals([first.id, first.path], [1, "/sys/fs/ghost/enclave_1"]);
  assertEquals([first.cpus(), second.cpus()], [[0, 2], [1]]);
  assertEquals([first.isOnline(), second.isOnline()], [true, false]);
  const thread = ghostfs.thread();
  assertEquals([first.join(thread.tid), first.join(5)], [0, -ESRCH]);
  assertEquals([first.taskTids(), second.taskTids()], [[thread.tid], []]);
  assertEquals(first.setRunnableTimeout(250), 0);
  assertEquals(ghostfs.enclaves.get(1)!.tunables.get("runnable_timeout"), 250);
  assertEquals([tool.openCount(), tool.memory.mappingCount()], [0, 0]);
});

Deno.test("what a view destroys is gone; its agents are killed, the tool is not", () => {
  const ghostfs = new ScriptedGhostfs();
  const agents = new LabProcess(ghostfs);
  agents.start(agents.policyOn(agents.create([0])));
  const tool = ghostfs.process();
  const [enclave] = ghostView(tool.thread()).enclaves();
  assertEquals(enclave.destroy(), 0);
  assertEquals(enclave.destroy(), -ENOENT);
  ghostfs.sleep(200);
  assertEquals([agents.process.is_dead, tool.is_dead], [true, false]);
  assertEquals([enclave.cpus(), enclave.taskTids(), enclave.isOnline()], [-2, -2, -2]);
  assertEquals([enclave.join(1), enclave.setRunnableTimeout(1)], [-ENOENT, -ENOENT]);
});

Deno.test("a user who is not root sees enclaves and may not change them", () => {
  const ghostfs = new ScriptedGhostfs();
  new LabProcess(ghostfs).create([0]);
  const tool = ghostfs.process({ is_root: false });
  const [enclave] = ghostView(tool.thread()).enclaves();
  assertEquals([enclave.cpus(), enclave.isOnline()], [[0], false]);
  assertEquals([enclave.destroy(), enclave.setRunnableTimeout(1)], [-EACCES, -EACCES]);
  assertEquals(enclave.join(ghostfs.thread().tid), -EPERM);
});

Deno.test("a host without ghostfs has no enclaves to view", () => {
  const tool = new ScriptedGhostfs({ lacks_ghost: true }).process();
  assertEquals(ghostView(tool.thread()).enclaves(), []);
});
