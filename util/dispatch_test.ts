import { assertEquals } from "@std/assert";
import { dispatch } from "./dispatch.ts";

const NAMES = ["fifo_per_cpu_agent", "selftest"];

interface Case {
  what: string;
  called_as: string[];
  default_name?: string;
  args: string;
  /** The program and its arguments. */
  runs: string;
}

const CASES: Case[] = [
  {
    what: "its own name chooses the program",
    called_as: ["/x/fifo_per_cpu_agent"],
    args: "-v",
    runs: "fifo_per_cpu_agent -v",
  },
  {
    what: "a program does not take another's name from its arguments",
    called_as: ["./fifo_per_cpu_agent"],
    args: "selftest",
    runs: "fifo_per_cpu_agent selftest",
  },
  {
    what: "ghostctl takes the program from its first argument",
    called_as: ["/usr/bin/ghostctl"],
    args: "selftest --all selftest",
    runs: "selftest --all selftest",
  },
  {
    what: "ghostctl does not look for a program behind a flag",
    called_as: ["ghostctl"],
    args: "--help selftest",
    runs: "ghostctl --help selftest",
  },
  {
    what: "ghostctl keeps an unknown name for its error",
    called_as: ["ghostctl"],
    args: "nope",
    runs: "ghostctl nope",
  },
  {
    what: "the second path counts when the first is foreign",
    called_as: ["my_link", "/x/selftest"],
    args: "a",
    runs: "selftest a",
  },
  {
    what: "a foreign name runs what the file was made for",
    called_as: ["renamed", "/x/renamed"],
    default_name: "fifo_per_cpu_agent",
    args: "selftest",
    runs: "fifo_per_cpu_agent selftest",
  },
  {
    what: "a name of Object.prototype is a foreign one",
    called_as: ["toString"],
    args: "valueOf",
    runs: "ghostctl valueOf",
  },
];

for (const { what, called_as, default_name = "ghostctl", args, runs } of CASES) {
  Deno.test(`dispatch: ${what}`, () => {
    const choice = dispatch(NAMES, { called_as, default_name, args: args.split(" ") });
    assertEquals([choice.name, ...choice.args].join(" "), runs);
  });
}
