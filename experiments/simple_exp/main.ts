/**
 * `simple_exp`: the load as an executable, upstream's of the same name.
 *
 * @module
 */
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { loadMain, type LoadProgram } from "../load_program.ts";
import { SIMPLE_EXP } from "./load.ts";

const PROGRAM: LoadProgram = {
  name: "simple_exp",
  summary: SIMPLE_EXP.summary,
  load: SIMPLE_EXP,
  sim_policy: FIFO_PER_CPU,
};

/**
 * Runs it.
 *
 * @param args Its arguments.
 * @returns The exit status.
 */
export function main(args: string[]): Promise<number> {
  return loadMain(PROGRAM, args);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
