/**
 * V8 flags of the tasks that simulate for long: `experiment` and `fuzz`, and the bench of the
 * simulator.
 *
 * @module
 */

/**
 * The first lets TurboFan inline most of what an event does into a few functions, as in the
 * executables: 2214 instructions instead of 2523 for an event of simple_exp. The second gives young
 * objects room, so that a load's threads are not copied while they live.
 */
const FLAGS: readonly string[] = [
  "--max-inlined-bytecode-size-cumulative=4000",
  "--min-semi-space-size=16",
];

/** The flags as an argument of `deno run`. */
export const SIM_V8_FLAGS: string = `--v8-flags=${FLAGS.join(",")}`;
