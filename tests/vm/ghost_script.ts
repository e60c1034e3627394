/**
 * Shell functions of the jobs on a ghOSt kernel.
 *
 * @module
 */
import { shellWord } from "./guest.ts";
import type { JobContext } from "./job.ts";

/**
 * What every script begins with; `$work` is a folder of the job's own.
 *
 * @param context The run.
 * @param agent How `start_agent` calls the agent, in the folder of the executables.
 * @returns Shell lines.
 */
export function prelude({ programs }: JobContext, agent = "fifo_per_cpu_agent"): string {
  return `programs=${shellWord(programs)} ghostfs=/sys/fs/ghost
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
await_line() {
  for i in $(seq 1200); do
    grep -q "$1" "$2" && return 0
    kill -0 "$3" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}
# start_agent NAME FLAGS...: its output is in $work/NAME, its guard is $guard
start_agent() {
  name=$1; shift
  "$programs"/${agent} --kernel=ghost "$@" >"$work/$name" 2>&1 & guard=$!
}
active() { await_line "ghOSt active" "$work/$1" $2 && echo "$1 active" || echo "$1 not active"; }
enclaves() { ls "$ghostfs" | grep -c '^enclave_'; }
path() { for one in "$ghostfs"/enclave_*; do echo "$one"; done | tail -1; }
await_none() { for i in $(seq 200); do [ "$(enclaves)" = 0 ] && return; sleep 0.1; done; }
tasks() { wc -l <"$(path)/tasks"; }
load() {
  present=$(tasks)
  "$programs/simple_exp" --kernel=ghost "$@" >"$work/load" 2>&1 & load=$!
  for i in $(seq 1200); do
    [ "$(tasks)" -gt $((present + 20)) ] && break
    kill -0 $load 2>/dev/null || break
    sleep 0.1
  done
}
end_load() { wait $load; echo "load_status $?"; sed 's/^/load: /' "$work/load"; }
end_agent() { wait $2; echo "$1_status $?"; sed "s/^/$1: /" "$work/$1"; }
`;
}

/** The sub-tests of simple_exp. */
export const SUB_TESTS: readonly string[] = [
  "SimpleExp",
  "SimpleExpMany",
  "BusyExp",
  "TaskDeparted",
  "TaskDepartedMany",
  "TaskDepartedManyRace",
];
