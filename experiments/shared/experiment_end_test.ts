import { assert, assertEquals } from "@std/assert";
import { ExperimentEnd } from "./experiment_end.ts";

/** An end whose lines and exit are kept. */
function watched(): { end: ExperimentEnd; lines: string[]; exits: number[] } {
  const lines: string[] = [];
  const exits: number[] = [];
  const end = new ExperimentEnd({
    log: (line) => lines.push(line),
    onAbort: () => lines.push("aborted"),
    exit: (status) => exits.push(status),
  });
  return { end, lines, exits };
}

Deno.test("an experiment ends when its time is over, and says so", async () => {
  const { end, lines } = watched();
  await end.wait(1e6);
  end.close();
  assertEquals(lines, ["Timer fired..."]);
  assert(!end.is_interrupted);
});

Deno.test("the first SIGINT ends an endless experiment, the second the process", async () => {
  const { end, lines, exits } = watched();
  end.interrupt(); // the signal itself would end the test run; rocksdb's own test sends it
  await end.wait(Infinity);
  assert(end.is_interrupted);
  assertEquals([lines, exits], [[], []]);
  end.interrupt();
  end.close();
  assertEquals([lines, exits], [["Forcing exit...", "aborted"], [130]]);
});

Deno.test("SIGALRM ends an experiment as its timer does", async () => {
  const { end, lines } = watched();
  Deno.kill(Deno.pid, "SIGALRM");
  await end.wait(Infinity);
  end.close();
  assertEquals(lines, ["Timer fired..."]);
});
