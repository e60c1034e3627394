/**
 * Which module may import which, by layer. The core stays small and free of side doors: policies
 * know no kernel, the library knows no policy, and only ffi/ reaches native code.
 *
 * @module
 */

/** A broken rule: what is wrong and how to mend it. */
export interface ImportFault {
  readonly what: string;
  readonly cure: string;
}

/** What the library and every policy may know of the machine. */
const CONTRACT = ["kernels/kernel.ts", "ffi/abi/", "ffi/memory.ts"];
/** Layers that are no part of what is shipped. */
const WORKBENCH = ["tests/", "experiments/", "bench/", "tools/"];
/** Modules that carry other kernel services later, and so know no tasks and no CPUs. */
const SERVICE_NEUTRAL = ["lib/ring.ts", "lib/transaction.ts"];
/** File names that these must not import. */
const TASK_TYPES = /^lib\/(task|shared_task|policy|scheduler|agent|enclave|topology|cpu_list)/;

/** A layer: which files it holds, and prefixes of what these may import. First match counts. */
interface Layer {
  readonly files: RegExp;
  readonly may_import: readonly string[];
}

const LAYERS: readonly Layer[] = [
  { files: /^ffi\/memory\.ts$/, may_import: [] },
  { files: /^ffi\/abi\//, may_import: ["ffi/abi/"] },
  { files: /^ffi\//, may_import: ["ffi/"] },
  { files: /^kernels\/kernel\.ts$/, may_import: ["ffi/abi/", "ffi/memory.ts"] },
  { files: /^kernels\//, may_import: ["kernels/", "lib/", "ffi/"] },
  { files: /^lib\//, may_import: ["lib/", ...CONTRACT] },
  { files: /^shared\//, may_import: ["shared/", "ffi/"] },
  {
    files: /^schedulers\/.*\/agent\.ts$/,
    may_import: ["schedulers/", "lib/", "kernels/", "ffi/", "shared/", "util/", "experiments/"],
  },
  { files: /^schedulers\//, may_import: ["lib/", "shared/", ...CONTRACT] },
  {
    files: /^util\//, // the contract suite is part of the executable: ghostctl selftest
    may_import: [
      "util/",
      "schedulers/",
      "lib/",
      "kernels/",
      "ffi/",
      "shared/",
      "experiments/",
      "tests/conformance/",
    ],
  },
  { files: /^mod\.ts$/, may_import: ["lib/", "kernels/", "ffi/", "shared/"] },
];

/** Layers that may import a scheduler beside its own agent. */
const SCHEDULER_USERS = /^(tests|experiments|bench|tools|util)\//;

function isTest(path: string): boolean {
  return path.endsWith("_test.ts") || path.startsWith("tests/");
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}

/** Rules for names that are no files of the repository. */
function packageFault(from: string, specifier: string): ImportFault | undefined {
  if (/^(jsr|npm|https?):/.test(specifier)) {
    return {
      what: `imports "${specifier}" by its address`,
      cure: "name it in deno.json's imports and import that name",
    };
  }
  const is_for_tests = /^@std\/(assert|testing)\b/.test(specifier);
  if (is_for_tests && !isTest(from) && !WORKBENCH.some((layer) => from.startsWith(layer))) {
    return {
      what: `imports "${specifier}" outside tests`,
      cure: "use lib/invariant.ts, or move the code to a *_test.ts",
    };
  }
  return undefined;
}

/** Rules for files of the repository, both as paths from its root. */
function fileFault(from: string, to: string): ImportFault | undefined {
  if (to.startsWith("../")) {
    return { what: `imports ${to} outside the repository`, cure: "import only what is in it" };
  }
  if (isTest(from)) return undefined;
  if (to.endsWith("_test.ts")) {
    return { what: `imports the test ${to}`, cure: "move what both need to a module of its own" };
  }
  const own_agent = from.endsWith("/agent.ts") && folderOf(from) === folderOf(to);
  if (to.startsWith("schedulers/") && !own_agent && !SCHEDULER_USERS.test(from)) {
    const within = !from.endsWith("/agent.ts") && folderOf(from) === folderOf(to);
    if (!within || to.endsWith("/agent.ts")) {
      return {
        what: `imports the scheduler ${to}`,
        cure: "only its own agent.ts may; move what is shared to lib/",
      };
    }
    return undefined;
  }
  if (SERVICE_NEUTRAL.includes(from) && TASK_TYPES.test(to)) {
    return { what: `imports ${to}`, cure: "rings and transactions know only bytes and words" };
  }
  const layer = LAYERS.find(({ files }) => files.test(from));
  if (layer === undefined || layer.may_import.some((prefix) => to.startsWith(prefix))) {
    return undefined;
  }
  const allowed = layer.may_import.length === 0 ? "nothing" : layer.may_import.join(", ");
  return { what: `imports ${to}`, cure: `a file here may import ${allowed}` };
}

/**
 * Tells whether one module may import another.
 *
 * @param from Path of the importing file from the repository's root.
 * @param specifier What it imports, as written.
 * @returns The broken rule; undefined when the import is right.
 */
export function importFault(from: string, specifier: string): ImportFault | undefined {
  if (!/^\.{0,2}\//.test(specifier)) return packageFault(from, specifier);
  if (specifier.startsWith("/")) {
    return { what: `imports "${specifier}" by an absolute path`, cure: "use a relative path" };
  }
  const root = "file:///a/b/c/d/e/f/g/h/";
  const url = new URL(specifier, root + from).href;
  return fileFault(from, url.startsWith(root) ? url.slice(root.length) : `../${specifier}`);
}

/**
 * Tells whether a file may open native libraries.
 *
 * @param path Path of the file from the repository's root.
 * @returns The broken rule; undefined when it may.
 */
export function dlopenFault(path: string): ImportFault | undefined {
  if (path.startsWith("ffi/")) return undefined;
  return {
    what: "calls Deno.dlopen",
    cure: "only ffi/ opens native code; add what is missing there",
  };
}
