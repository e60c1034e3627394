/**
 * V8 flags of the tasks that simulate for long: `experiment` and `fuzz`, and the bench of the
 * simulator.
 *
 * @module
 */

/**
 * The first two let TurboFan inline nearly all that an event does into one function: 2010
 * instructions instead of 2540 for an event of simple_exp, and 2130 with 4000 and V8's own limit of
 * 4600, as in the executables, where the code's size counts. The last gives young objects room, so
 * that a load's threads are not copied while they live.
 */
const FLAGS: readonly string[] = [
  "--max-inlined-bytecode-size-cumulative=20000",
  "--max-inlined-bytecode-size-absolute=30000",
  "--min-semi-space-size=16",
];

/** The flags as an argument of `deno run`. */
export const SIM_V8_FLAGS: string = `--v8-flags=${FLAGS.join(",")}`;
