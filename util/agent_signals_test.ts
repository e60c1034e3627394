import { assertEquals, assertStringIncludes } from "@std/assert";
import { startProgram } from "../tests/process.ts";
import { AgentSignals } from "./agent_signals.ts";

Deno.test("the first SIGINT asks for the end, the second one ends with 130", () => {
  const exits: number[] = [];
  const aborts: string[] = [];
  const signals = new AgentSignals((status) => exits.push(status));
  signals.on_abort = () => aborts.push("abort");
  assertEquals(signals.is_stopping, false);
  signals.interrupt();
  assertEquals([signals.is_stopping, exits, aborts], [true, [], []]);
  signals.interrupt();
  assertEquals([exits, aborts], [[130], ["abort"]]);
});

Deno.test("a second SIGTERM is no second SIGINT; SIGUSR2 keeps the enclave if it comes first", () => {
  const exits: number[] = [];
  const signals = new AgentSignals((status) => exits.push(status), ["SIGINT", "SIGTERM"]);
  signals.interrupt("SIGTERM");
  signals.interrupt("SIGTERM");
  signals.interrupt("SIGUSR2");
  assertEquals([signals.is_stopping, signals.keeps_enclave, exits], [true, false, []]);
  signals.interrupt("SIGINT");
  assertEquals(exits, [130]);
  const keeping = new AgentSignals(() => {});
  keeping.interrupt("SIGUSR2");
  assertEquals([keeping.is_stopping, keeping.keeps_enclave], [true, true]);
});

Deno.test("SIGUSR1 dumps as often as it comes, and does nothing where there is nothing to dump", () => {
  const signals = new AgentSignals(() => {});
  signals.dump();
  let count = 0;
  signals.on_dump = () => count++;
  signals.dump();
  signals.dump();
  assertEquals([count, signals.is_stopping], [2, false]);
});

Deno.test("a process that does not end after SIGINT ends with 130 after the second one", async () => {
  const program = await startProgram("tests/agents/stubborn_program.ts", []);
  await program.waitFor("ready");
  program.child.kill("SIGUSR1");
  await program.waitFor("dump");
  program.child.kill("SIGINT");
  await program.waitFor("stopping");
  program.child.kill("SIGINT");
  const { code, stdout } = await program.ended();
  assertEquals(code, 130);
  assertStringIncludes(stdout, "abort");
});
