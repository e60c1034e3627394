import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { CpuList } from "../../lib/cpu_list.ts";
import { UsageError } from "../../lib/errors.ts";
import { antagonistOptions, optionsText } from "./options.ts";

const ONLINE = CpuList.from(Array.from({ length: 18 }, (_, cpu) => cpu));

function dump(...args: string[]): string {
  const options = antagonistOptions(args, ONLINE);
  assert(options !== "help" && !(options instanceof UsageError), String(options));
  return optionsText(options);
}

Deno.test("options_test PrintOptions: the antagonist's options, by name", () => {
  const text = dump(
    ...["--work_share", "0.9", "--num_threads", "4", "--cpus", "1-4"],
    ...["--experiment_duration", "15s"],
  );
  assertEquals(
    text,
    `cpus: 1 2 3 4
experiment_duration: 15s
ghost_qos: 2
num_threads: 4
print_format: pretty
scheduler: cfs
work_share: 0.9`,
  );
});

Deno.test("antagonist: the defaults are upstream's", () => {
  const want = ["cpus: 10 11 12 13 14 15 16 17", "experiment_duration: inf", "ghost_qos: 2"];
  assertEquals(dump().split("\n").slice(0, 3), want);
  assertEquals(dump("--scheduler=ghost", "--cpus=").split("\n")[0], "cpus:");
});

Deno.test("antagonist: bad flags are told in one line", () => {
  const wrong: [string[], string][] = [
    [["--work_share=1.1"], "give a number from 0 to 1"],
    [["--num_threads=2"], "names 8 CPUs for 2 threads"],
    [["--cpus=0-7"], "CPU 0 is for background threads"],
    [["--scheduler=ghost"], "give --cpus="],
    [["--num_threads=0"], "--num_threads"],
    [["--experiment_duration=soon"], "is no duration"],
    [["--print_last"], "unknown flag --print_last"],
  ];
  for (const [args, text] of wrong) {
    const fault = antagonistOptions(args, ONLINE);
    assertInstanceOf(fault, UsageError, args.join(" "));
    assert(fault.message.includes(text), fault.message);
  }
});
