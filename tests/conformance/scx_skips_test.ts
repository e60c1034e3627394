import { assertEquals } from "@std/assert";
import { SCX_SKIP_NAMES, scxSkip } from "./scx_skips.ts";
import { CASES } from "./suite.ts";

Deno.test("contract on scx: what is left out is a case of the suite, and has a reason", () => {
  const unknown = SCX_SKIP_NAMES.filter((start) =>
    !CASES.some(({ name }) => name.startsWith(start))
  );
  assertEquals(unknown, []);
  assertEquals(SCX_SKIP_NAMES.filter((name) => (scxSkip(name) ?? "") === ""), []);
  assertEquals(scxSkip("api_test RunDeadTask"), undefined);
});
