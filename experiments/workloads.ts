/**
 * The loads that an agent can be given with `--workload`, by name.
 *
 * @module
 */
import type { Load } from "./load.ts";
import { SIMPLE_EXP } from "./simple_exp/load.ts";

/** Every load. */
export const WORKLOADS: readonly Load[] = [SIMPLE_EXP];
