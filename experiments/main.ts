/**
 * `deno task experiment NAME`: runs one experiment of the literature on the simulated kernel.
 *
 * @module
 */
import { main as shinjuku } from "./shinjuku/main.ts";

const EXPERIMENTS: Readonly<Record<string, (args: string[]) => number>> = { shinjuku };

function main(args: string[]): number {
  const [name, ...rest] = args;
  const experiment = name === undefined ? undefined : EXPERIMENTS[name];
  if (experiment !== undefined) return experiment(rest);
  const known = Object.keys(EXPERIMENTS).join(", ");
  const what = name === undefined ? "no experiment named" : `unknown experiment "${name}"`;
  console.error(`experiment: ${what}; give one of: ${known}`);
  return 2;
}

if (import.meta.main) Deno.exit(main(Deno.args));
