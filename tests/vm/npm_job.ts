/**
 * The job of `deno task test:vm` that runs a package's `npm test` under an agent: a program of many
 * processes and threads that knows nothing of all this.
 *
 * @module
 */
import { fact, faultsIf, type VmJob } from "./job.ts";
import { endFaults, withAgent } from "./scx_jobs.ts";
import { shellWord } from "./guest.ts";

/** Exit status of the package whose test fails: none that npm or ghostctl has of its own. */
const FAILING_STATUS = 42;

/** A module that tells the classes of all threads of this process and of those it descends from. */
const POLICIES = `const fs = require("node:fs");
const fields = (path) => fs.readFileSync(path, "utf8").replace(/^.*\\) /s, "").split(" ");
let pid = process.pid;
for (let depth = 0; depth < 4 && pid > 1; depth++) {
  const dir = "/proc/" + pid;
  const tids = fs.readdirSync(dir + "/task");
  const policies = tids.map((tid) => fields(dir + "/task/" + tid + "/stat")[38]);
  const name = fs.readFileSync(dir + "/comm", "utf8").trim().replaceAll(" ", "_");
  fs.appendFileSync("/tmp/policies", "policies " + name + " " + policies.join(" ") + "\\n");
  pid = Number(fields(dir + "/stat")[1]);
}
`;

/** Work on the main thread and on the threads of libuv's pool. */
const PACKAGE_TEST = `const { test } = require("node:test");
const { equal } = require("node:assert");
const { pbkdf2 } = require("node:crypto");
const { promisify } = require("node:util");
test("hashes", async () => {
  const hash = () => promisify(pbkdf2)("word", "salt", 2000, 32, "sha256");
  const all = await Promise.all([hash(), hash(), hash(), hash(), hash(), hash()]);
  equal(new Set(all.map((bytes) => bytes.toString("hex"))).size, 1);
  require("./policies.cjs");
});
test("sums", () => equal([1, 2, 3].reduce((a, b) => a + b), WANTED));
`;

function packageLines(folder: string, script: string, wanted: number): string {
  const json = JSON.stringify({
    name: "small",
    version: "1.0.0",
    private: true,
    scripts: { test: script },
  });
  const put = (name: string, text: string) => `printf %s ${shellWord(text)} >${folder}/${name}`;
  return [
    `mkdir -p ${folder}`,
    put("package.json", json),
    put("policies.cjs", POLICIES),
    put("sums.test.cjs", PACKAGE_TEST.replace("WANTED", String(wanted))),
  ].join("\n");
}

const SCX_NPM: VmJob = {
  name: "scx_npm",
  summary: "`ghostctl run -- npm test` runs under the agent and hands its status on",
  timeout_s: 300,
  is_packed: true,
  is_soak: true,
  script: (context) =>
    `export PATH="$PATH":${shellWord(Deno.env.get("PATH") ?? "")}
command -v npm >/dev/null || { echo "no npm: install Node.js on the host"; exit 1; }
export npm_config_update_notifier=false npm_config_cache=/tmp/npm npm_config_offline=true
${packageLines("/tmp/good", "node --test", 6)}
${packageLines("/tmp/bad", `node --test || exit ${FAILING_STATUS}`, 7)}
${
      withAgent(context, {
        body: `cd /tmp/good
start=$(date +%s%N)
timeout 120 "$programs/ghostctl" run -- npm test >/tmp/good_out 2>&1; echo "good_status $?"
echo "good_ms $(( ($(date +%s%N) - start) / 1000000 ))"
cat /tmp/policies; grep -E "^# (pass|fail) " /tmp/good_out
cd /tmp/bad
timeout 120 "$programs/ghostctl" run -- npm test >/tmp/bad_out 2>&1; echo "bad_status $?"
sed -n 's/^# \\(pass\\|fail\\) /bad_\\1 /p' /tmp/bad_out
cd /
echo "tasks $("$programs/ghostctl" enclaves --json | grep task_count)"`,
      })
    }
echo "left $(cat /proc/[0-9]*/task/*/stat 2>/dev/null | sed 's/^.*) //' |
  awk '$39 == 7' | wc -l)"`,
  judge({ stdout }) {
    const policies = [...stdout.matchAll(/^policies (\S+) (.*)$/gm)];
    const foreign = policies.filter(([, , list]) => list.split(" ").some((one) => one !== "7"));
    const names = policies.map(([, name, list]) => `${name} ${list.split(" ").length}`);
    const node_count = policies.filter(([, name]) => /^node/.test(name)).length;
    return {
      faults: [
        ...endFaults(stdout),
        ...faultsIf(
          [fact(stdout, "good_status") !== "0", `npm test: ${fact(stdout, "good_status")}`],
          [fact(stdout, "# pass") !== "2", `${fact(stdout, "# pass")} of 2 tests passed`],
          [node_count < 2, "threads of node's runner and its test were not seen"],
          [foreign.length > 0, `not SCHED_EXT: ${foreign.map(([line]) => line).join("; ")}`],
          [
            fact(stdout, "bad_status") !== String(FAILING_STATUS),
            `a failing npm test: ${fact(stdout, "bad_status")}, not ${FAILING_STATUS}`,
          ],
          [fact(stdout, "bad_fail") !== "1", "the failing test did not run"],
          [!/"task_count": 0,/.test(fact(stdout, "tasks") ?? ""), "threads stay in the enclave"],
          [fact(stdout, "left") !== "0", `${fact(stdout, "left")} threads stay SCHED_EXT`],
        ),
      ],
      detail: `${fact(stdout, "good_ms")} ms, threads: ${names.join(", ")}`,
    };
  },
};

/** The job. */
export const NPM_JOBS: readonly VmJob[] = [SCX_NPM];
