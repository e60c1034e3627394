import { assert, assertEquals } from "@std/assert";
import { ownCommand, startCommand } from "./own_program.ts";

const MODULE = new URL("./own_program.ts", import.meta.url).href;
const MAIN = new URL("./main.ts", import.meta.url).href;

Deno.test("own programs: in a clone they get this process's flags of deno", () => {
  const line = ["deno", "run", "-A", "--import-map", "map.json", "experiments/main.ts", "rocksdb"];
  const { args } = ownCommand("antagonist", MODULE, line, MAIN);
  assertEquals(args.slice(0, 4), ["run", "-A", "--import-map", "map.json"]);
  assert(args[4].endsWith("/util/main.ts"), args[4]);
  assertEquals(args.slice(5), ["antagonist"]);
});

Deno.test("own programs: a packed executable is all of them", () => {
  const bundle = "file:///proc/self/fd/100";
  const { file, args } = ownCommand("agent_sol", bundle, ["./ghostctl"], bundle);
  assertEquals([file, args], [Deno.execPath(), ["agent_sol"]]);
  const own_name = Deno.execPath().split("/").at(-1) as string;
  const beside = ownCommand(own_name, bundle, [], bundle);
  assertEquals([beside.file, beside.args], [Deno.execPath(), []], "a link is taken if it is there");
});

Deno.test("own programs: what they say is collected, and a line can be waited for", async () => {
  const shell = (script: string): ReturnType<typeof startCommand> =>
    startCommand({ file: "/bin/sh", args: ["-c", script] });
  const program = shell("echo first; echo ready; echo fault >&2; exec sleep 60");
  assert(await program.waitForLine("ready"));
  program.interrupt();
  const { code, stdout, stderr } = await program.ended();
  assert(code !== 0);
  assertEquals([stdout, stderr], ["first\nready\n", "fault\n"]);
  const other = shell("echo almost ready; exit 3");
  assertEquals(await other.waitForLine("ready"), false);
  assertEquals((await other.ended()).code, 3);
});

Deno.test("own programs: they can have a nice value", async () => {
  const niceOf = async (nice: number): Promise<number> => {
    const program = startCommand({ file: "/bin/sh", args: ["-c", "nice"] }, nice);
    return Number((await program.ended()).stdout);
  };
  // The value adds to that of the test run itself; 19 is the most.
  assertEquals(await niceOf(5), Math.min(await niceOf(0) + 5, 19));
});
