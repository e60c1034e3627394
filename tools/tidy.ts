/**
 * Rules for source text that no linter knows: length of files, lines and C functions, marks of
 * unfinished work, and paths that exist on one machine only.
 *
 * @module
 */

/** Most lines of a file. */
export const FILE_LINES_MAX = 600;
/** Most columns of a line. */
export const LINE_COLUMNS_MAX = 100;
/** Most lines of a C function; lint_plugin.ts says the same of TypeScript. */
export const FUNCTION_LINES_MAX = 70;

/** A broken rule at a place. */
export interface TidyFault {
  /** 1-based line. */
  readonly line: number;
  /** What is wrong. */
  readonly what: string;
  /** How to mend it. */
  readonly cure: string;
}

const SOURCE = /\.(ts|c|h)$/;
const TEXT = /\.(ts|c|h|md|json|html|sh|yml|yaml|txt)$|(^|\/)\.ci\/run$/;
const SKIPPED_FOLDERS = /^(\.git|\.cache|node_modules|cov|dist|out)$|^native\/build$/;

// Put together from parts, so that this file does not break its own rule.
const UNFINISHED = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X" + "XX"].join("|")})\\b`);
// Placeholders of examples, /home/u, /home/x and /home/user, are no machine's.
const MACHINE_PATH =
  /(?<![\w.})-])\/(work|root|home\/(?!(u|x|user)\b)\w+|Users\/\w+)(?=[/"'`\s]|$)/;
// deno fmt keeps the head of a test on one line, whatever its length; the title alone must fit.
const TEST_HEAD = /^\s*(Deno\.test|await t\.step)\("[^"]{1,90}", (async )?\(t?\) => \{$/;
const OWN_RULE_OFF = /deno-lint-ignore(-file)?\b.*\bghost\/|deno-lint-ignore-file\s*(--.*)?$/;

interface LineRule {
  readonly files: RegExp;
  readonly breaks: (line: string) => boolean;
  readonly what: string;
  readonly cure: string;
}

const LINE_RULES: readonly LineRule[] = [
  {
    files: SOURCE,
    breaks: (line) => [...line].length > LINE_COLUMNS_MAX && !TEST_HEAD.test(line),
    what: `line of more than ${LINE_COLUMNS_MAX} columns`,
    cure: "break it",
  },
  {
    files: TEXT,
    breaks: (line) => UNFINISHED.test(line),
    what: "mark of unfinished work",
    cure: "do it, or leave it to an issue",
  },
  {
    files: TEXT,
    breaks: (line) => MACHINE_PATH.test(line),
    what: "path of one machine",
    cure: "derive it from import.meta.url, HOME or a flag",
  },
  {
    files: SOURCE,
    breaks: (line) => OWN_RULE_OFF.test(line),
    what: "switches a rule of this project off",
    cure: "mend the code, or the rule for all",
  },
];

/** Functions of C in the usual layout: head at the margin, closing brace alone at the margin. */
function cFunctionFaults(lines: readonly string[]): TidyFault[] {
  return lines.flatMap((line, end) => {
    if (!/^}\s*$/.test(line)) return [];
    const head = lines.findLastIndex((one, i) => i < end && /^[A-Za-z_](?!\w*:\s*$)/.test(one));
    const line_count = end - head + 1;
    if (line_count <= FUNCTION_LINES_MAX) return [];
    const what = `function of ${line_count} lines, ${FUNCTION_LINES_MAX} at most`;
    return [{ line: head + 1, what, cure: "split it by what its parts do" }];
  });
}

/**
 * Finds what breaks a rule in one file.
 *
 * @param path Path of the file from the repository's root.
 * @param text Its text.
 * @returns The faults, by line.
 */
export function tidyFaults(path: string, text: string): TidyFault[] {
  const lines = text.replace(/\n$/, "").split("\n");
  const faults: TidyFault[] = [];
  if (SOURCE.test(path) && lines.length > FILE_LINES_MAX) {
    faults.push({
      line: FILE_LINES_MAX + 1,
      what: `file of ${lines.length} lines, ${FILE_LINES_MAX} at most`,
      cure: "split it by concept",
    });
  }
  const rules = LINE_RULES.filter(({ files }) => files.test(path));
  lines.forEach((line, index) => {
    for (const { breaks, what, cure } of rules) {
      if (breaks(line)) faults.push({ line: index + 1, what, cure });
    }
  });
  if (/\.[ch]$/.test(path)) faults.push(...cFunctionFaults(lines));
  return faults.sort((a, b) => a.line - b.line);
}

/** Paths of all text files under a folder, from that folder, sorted. */
function textFiles(root: string, folder = ""): string[] {
  return [...Deno.readDirSync(`${root}/${folder}`)].flatMap((entry) => {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory) return SKIPPED_FOLDERS.test(path) ? [] : textFiles(root, `${path}/`);
    return entry.isFile && TEXT.test(path) ? [path] : [];
  }).sort();
}

/**
 * Holds every text file of a tree against the rules.
 *
 * @param root Path of the tree, without a trailing slash.
 * @returns One line for each fault: `file:line: what; cure`.
 */
export function tidyTree(root: string): string[] {
  return textFiles(root).flatMap((path) =>
    tidyFaults(path, Deno.readTextFileSync(`${root}/${path}`))
      .map(({ line, what, cure }) => `${path}:${line}: ${what}; ${cure}`)
  );
}
