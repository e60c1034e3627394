import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { OperatingError } from "./errors.ts";
import {
  DEFAULT_PID_MAX_MAX,
  DEFAULT_SEQNUM_BITS,
  Gtid,
  gtidHi,
  gtidName,
  GtidNames,
  gtidValue,
  HOST_PROCFS,
  type Procfs,
  seqnumBits,
  seqnumBitsOf,
  tidOf,
} from "./gtid.ts";
import { InvariantError } from "./invariant.ts";

/** A /proc under /fake with thread 77 of process 70, and 70 itself, on a ghOSt kernel. */
function fakeProcfs(changes: Record<string, string | undefined> = {}): Procfs {
  const files: Record<string, string | undefined> = {
    "/fake/proc/70/status": "Name:\tapp\nTgid:\t70\nPid:\t70\n",
    "/fake/proc/70/ghost/gtid": `${Gtid.make(70, 5)}\n`,
    "/fake/proc/77/status": "Name:\tapp\nNTgid:\t1\nTgid:\t70\nPid:\t77\n",
    "/fake/proc/77/ghost/gtid": `${Gtid.make(77, 6)}\n`,
    "/fake/proc/thread-self": "70/task/77",
    ...changes,
  };
  return { prefix: "/fake", read: (path) => files[path], readLink: (path) => files[path] };
}

function gtidOf(result: Gtid | OperatingError): Gtid {
  if (result instanceof OperatingError) throw result;
  return result;
}

function messageOf(result: Gtid | number | OperatingError): string {
  assertInstanceOf(result, OperatingError);
  assert(!result.message.includes("\n"));
  return result.message;
}

Deno.test("base_test TidTest: the current gtid holds the own tid (given a ghOSt /proc)", () => {
  assertEquals(gtidOf(Gtid.current(fakeProcfs())).tid(), 77);
});

Deno.test("base_test TgidThreadTest: two threads have the same tgid (given a ghOSt /proc)", () => {
  const procfs = fakeProcfs();
  for (const tid of [70, 77]) assertEquals(gtidOf(Gtid.fromTid(tid, procfs)).tgid(procfs), 70);
});

Deno.test("base_test NameTest: a gtid has a name of its own and takes any other", () => {
  const names = new GtidNames();
  const gtid = gtidOf(Gtid.current(fakeProcfs()));
  assert(names.describe(gtid).length > 0);
  for (const name of ["GtidTest", "AnotherGtidTest", ""]) {
    names.assignName(gtid, name);
    assertEquals(names.describe(gtid), name);
  }
});

Deno.test("gtid: the special gtids say what they stand for", () => {
  const names = new GtidNames();
  const described = [0n, -1n, -2n, -3n, -4n, -5n, -6n, -(2n ** 62n)].map((value) =>
    names.describe(new Gtid(value))
  );
  assertEquals(described, [
    "<null>",
    "<agent>",
    "<idle>",
    "<gtid-3>",
    "<gtid-4>",
    "<gtid-5>",
    "<unknown>",
    "<unknown>",
  ]);
  assertEquals(names.describe(new Gtid()), "<agent>");
  assertThrows(() => names.assignName(new Gtid(0n), "x"), InvariantError, "null gtid");
});

Deno.test("gtid: made-up names count through the letters, and stay", () => {
  const names = new GtidNames();
  const gtids = Array.from({ length: 28 }, (_, i) => Gtid.make(100 + i, 1));
  const described = gtids.map((gtid) => names.describe(gtid));
  assertEquals(described[0], `A0/100/${gtids[0]}`);
  assertEquals(described[25], `Z0/125/${gtids[25]}`);
  assertEquals(described[26], `A1/126/${gtids[26]}`);
  assertEquals(names.describe(gtids[0]), described[0]);
  assertEquals(gtidName(gtids[1].lo, gtids[1].hi, names), described[1]);
  assertEquals(gtidName(0, 0), "<null>");
});

Deno.test("gtid: the sequence number's bits follow from pid_max_max", () => {
  assertEquals(seqnumBitsOf(DEFAULT_PID_MAX_MAX), DEFAULT_SEQNUM_BITS);
  const cases: [number, number][] = [[2, 62], [3, 61], [32768, 48], [32769, 47], [2 ** 31, 32]];
  for (const [pid_max_max, bits] of cases) assertEquals(seqnumBitsOf(pid_max_max), bits);
  for (const bad of [1, 0, -5, 2 ** 31 + 1, NaN]) {
    assertThrows(() => seqnumBitsOf(bad), InvariantError, "pid_max_max");
  }
});

Deno.test("gtid: pid_max_max is read from the kernel, and 41 bits hold where there is none", () => {
  const path = "/fake/proc/sys/kernel/pid_max_max";
  assertEquals(seqnumBits(fakeProcfs()), 41);
  assertEquals(seqnumBits(fakeProcfs({ [path]: "32768\n" })), 48);
  for (const bad of ["1\n", "", "x\n", "99999999999\n"]) {
    assert(messageOf(seqnumBits(fakeProcfs({ [path]: bad }))).startsWith(`${path} holds `));
  }
  const procfs = fakeProcfs({ [path]: "32768\n", "/fake/proc/9/ghost/gtid": `${9 * 2 ** 48}` });
  assertEquals(gtidOf(Gtid.fromTid(9, procfs)).tid(), 9);
});

Deno.test("gtid: words and number are the same 64 bits, both ways", () => {
  const cases: [number, number, bigint][] = [
    [0, 0, 0n],
    [-1, -1, -1n],
    [-2, -1, -2n],
    [-1, 0, 0xffffffffn],
    [0, 1, 0x100000000n],
    [-0x80000000, 0x7fffffff, 0x7fffffff80000000n],
  ];
  for (const [lo, hi, value] of cases) {
    assertEquals(gtidValue(lo, hi), value);
    const gtid = Gtid.fromWords(lo, hi);
    assertEquals([gtid.lo, gtid.hi, gtid.value], [lo, hi, value]);
    assertEquals(gtid.isNull(), value === 0n);
  }
});

Deno.test("gtid: the tid is taken from the high word alone", () => {
  for (const bits of [32, 41, 48, 62]) {
    for (const tid of [0, 1, 2 ** (63 - bits) - 1]) {
      for (const seqnum of [0, 1, 2 ** 32 - 1, 2 ** Math.min(bits, 52) - 1]) {
        const gtid = Gtid.make(tid, seqnum, bits);
        assertEquals(tidOf(gtid.hi, bits), tid);
        assertEquals(Number(gtid.value >> BigInt(bits)), tid);
        assertEquals(gtidHi(tid, seqnum, bits), gtid.hi);
        assertEquals(seqnum % 2 ** 32 | 0, gtid.lo);
      }
    }
  }
  assertEquals(tidOf(-1), -1);
});

Deno.test("gtid: a recycled tid has no tgid, nor has a thread that ended", () => {
  assertEquals(Gtid.make(77, 5).tgid(fakeProcfs()), -1);
  assertEquals(Gtid.make(78, 6).tgid(fakeProcfs()), -1);
  const no_status = fakeProcfs({ "/fake/proc/77/status": undefined });
  assertEquals(Gtid.make(77, 6).tgid(no_status), -1);
});

Deno.test("gtid: without ghOSt, without the thread, with rubbish: one line with the cure", () => {
  const no_ghost = fakeProcfs({ "/fake/proc/77/ghost/gtid": undefined });
  assertEquals(
    messageOf(Gtid.fromTid(77, no_ghost)),
    "Unable to open proc entry for 77: /fake/proc/77/ghost is missing: this kernel has no ghOSt " +
      "class; try --kernel=scx, or `ghostctl doctor`",
  );
  assert(messageOf(Gtid.fromTid(99, fakeProcfs())).includes("/fake/proc/99 is missing"));
  const rubbish = fakeProcfs({ "/fake/proc/77/ghost/gtid": "x\n" });
  assert(messageOf(Gtid.fromTid(77, rubbish)).startsWith("Unable to extract gtid for 77: "));
  const no_self = fakeProcfs({ "/fake/proc/thread-self": undefined });
  assert(messageOf(Gtid.current(no_self)).includes("/fake/proc/thread-self is missing"));
});

Deno.test("gtid: the host's /proc is read, whatever its kernel", () => {
  const result = Gtid.current();
  if (result instanceof OperatingError) {
    assert(result.message.includes("/ghost is missing"), result.message);
  } else {
    assertEquals(result.tgid(), Deno.pid);
  }
  assert(HOST_PROCFS.read("/proc/self/status")?.includes(`Tgid:\t${Deno.pid}\n`));
});
