import { assertEquals } from "@std/assert";
import { EPERM, ESRCH, EXDEV } from "../kernel.ts";
import { clientFault, joinThread } from "./membership.ts";
import { SCX_OP } from "./scx_layout.ts";

/** A /proc in which 500 is the agent, 501 its child, 502 that one's child, 600 a stranger. */
function read(path: string): string | undefined {
  const status = (tgid: number, parent: number) => `Name:\tx\nTgid:\t${tgid}\nPPid:\t${parent}\n`;
  const files: Record<string, string> = {
    "/proc/500/status": status(500, 1),
    "/proc/510/status": status(500, 1),
    "/proc/501/status": status(501, 500),
    "/proc/502/status": status(502, 501),
    "/proc/600/status": status(600, 400),
    "/proc/400/status": status(400, 1),
    "/proc/1/status": status(1, 0),
  };
  return files[path];
}

Deno.test("threads of the agent's process and of what it has started may not be clients", () => {
  assertEquals(clientFault(500, 500, read), "thread 500 is of the agent's own process 500");
  assertEquals(clientFault(510, 500, read), "thread 510 is of the agent's own process 500");
  const child = (tid: number) => `thread ${tid} is in the process tree of the agent (process 500)`;
  assertEquals(clientFault(501, 500, read), child(501));
  assertEquals(clientFault(502, 500, read), child(502));
});

Deno.test("other threads may, and so may those that are gone, whom the kernel refuses", () => {
  assertEquals(clientFault(600, 500, read), undefined);
  assertEquals(clientFault(777, 500, read), undefined);
});

Deno.test("a parent loop in /proc ends", () => {
  const loop = () => "Tgid:\t7\nPPid:\t7\n";
  assertEquals(clientFault(7, 500, loop), undefined);
});

Deno.test("a thread of this process is refused before the program is asked", () => {
  let calls = 0;
  const call = () => calls++;
  assertEquals(joinThread(call, 0, Deno.pid, Deno.pid), -EPERM);
  assertEquals(calls, 0);
});

Deno.test("what the program refuses is refused, and nothing is changed", () => {
  for (const error of [-EXDEV, -ESRCH]) {
    const ops: number[] = [];
    const call = (op: number) => {
      ops.push(op);
      return error;
    };
    assertEquals(joinThread(call, 0, 2 ** 22 - 1, 1), error);
    assertEquals(ops, [SCX_OP.join]);
  }
});

Deno.test("a thread that cannot become SCHED_EXT gives its place back", () => {
  const ops: number[] = [];
  const call = (op: number) => {
    ops.push(op);
    return 0;
  };
  // No such thread: whatever this kernel is, it refuses.
  assertEquals(joinThread(call, 0, 2 ** 22 - 1, 1) < 0, true);
  assertEquals(ops, [SCX_OP.join, SCX_OP.unjoin]);
});
