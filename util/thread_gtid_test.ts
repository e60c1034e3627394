import { assert, assertEquals } from "@std/assert";
import { OperatingError } from "../lib/errors.ts";
import { Gtid } from "../lib/gtid.ts";
import { threadGtid } from "./thread_gtid.ts";

Deno.test("on sched_ext a gtid is tid and start time, whatever the thread's name is", () => {
  const fields = Array.from({ length: 30 }, (_, index) => index + 3).join(" ");
  const stat = `77 (a) R (b) ${fields}`;
  const gtid = threadGtid("scx", 77, (path) => path === "/proc/77/stat" ? stat : undefined);
  assert(gtid instanceof Gtid);
  assertEquals([gtid.tid(), gtid.lo], [77, 22]); // field 22 of proc(5)
});

Deno.test("a thread that has ended has no gtid", () => {
  assert(threadGtid("scx", 77, () => undefined) instanceof OperatingError);
  assert(threadGtid("ghost", 4_194_303) instanceof OperatingError);
});
