/**
 * The project's own rules for `deno lint`: import directions, who may call Deno.dlopen, length of
 * functions, and tests that are switched off. deno.json names this file under lint.plugins.
 *
 * @module
 */
import { isAbsolute, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { dlopenFault, importFault } from "./import_rules.ts";

/** Longest function, in lines from its head to its closing brace. */
export const FUNCTION_LINES_MAX = 70;

const ROOT_PATH = fileURLToPath(new URL("../", import.meta.url));

/** Path of the linted file from the repository's root. */
function pathOf(context: Deno.lint.RuleContext): string {
  const { filename } = context;
  const path = isAbsolute(filename) ? relative(ROOT_PATH, filename) : filename;
  return path.replaceAll("\\", "/");
}

function textOf(node: Deno.lint.Node | null | undefined): string | undefined {
  return node?.type === "Literal" && typeof node.value === "string" ? node.value : undefined;
}

function isNew(node: Deno.lint.NewExpression, class_name: string): boolean {
  return node.callee.type === "Identifier" && node.callee.name === class_name;
}

const importDirection: Deno.lint.Rule = {
  create(context) {
    const path = pathOf(context);
    const check = (node: Deno.lint.Node, specifier: string | undefined) => {
      const fault = specifier === undefined ? undefined : importFault(path, specifier);
      if (fault) context.report({ node, message: fault.what, hint: fault.cure });
    };
    return {
      ImportDeclaration: (node) => check(node, node.source.value),
      ExportAllDeclaration: (node) => check(node, node.source.value),
      ExportNamedDeclaration: (node) => check(node, textOf(node.source)),
      ImportExpression: (node) => check(node, textOf(node.source)),
      NewExpression(node) {
        const module_url = isNew(node, "Worker") ? node.arguments[0] : undefined;
        const is_relative = module_url?.type === "NewExpression" && isNew(module_url, "URL");
        const specifier = textOf(is_relative ? module_url.arguments[0] : module_url);
        if (specifier?.startsWith(".")) check(node, specifier);
      },
    };
  },
};

const dlopenInFfi: Deno.lint.Rule = {
  create(context) {
    const fault = dlopenFault(pathOf(context));
    if (fault === undefined) return {};
    return {
      MemberExpression(node) {
        const is_deno = node.object.type === "Identifier" && node.object.name === "Deno";
        const name = node.property.type === "Identifier"
          ? node.property.name
          : textOf(node.property);
        if (is_deno && name === "dlopen") {
          context.report({ node, message: fault.what, hint: fault.cure });
        }
      },
    };
  },
};

const functionLines: Deno.lint.Rule = {
  create(context) {
    const check = (node: Deno.lint.Node) => {
      const line_count = context.sourceCode.getText(node).split("\n").length;
      if (line_count <= FUNCTION_LINES_MAX) return;
      context.report({
        node,
        message: `function of ${line_count} lines, ${FUNCTION_LINES_MAX} at most`,
        hint: "split it by what its parts do",
      });
    };
    return {
      FunctionDeclaration: check,
      FunctionExpression: check,
      ArrowFunctionExpression: check,
    };
  },
};

/** Names under which a test is switched off, or switches the others off. */
const OFF_SWITCHES = /^(ignore|skip|only|todo)$/;
const TEST_FUNCTIONS = /^(Deno\.test|test|describe|it|t\.step)$/;

const noTestOff: Deno.lint.Rule = {
  create(context) {
    const report = (node: Deno.lint.Node, name: string) =>
      context.report({
        node,
        message: `"${name}" switches tests off`,
        hint: "mend the test, or choose the case at run time and say why in its name",
      });
    return {
      CallExpression(node) {
        const { callee } = node;
        if (callee.type !== "MemberExpression" || callee.property.type !== "Identifier") return;
        const name = callee.property.name;
        const object = context.sourceCode.getText(callee.object);
        if (OFF_SWITCHES.test(name) && TEST_FUNCTIONS.test(object)) report(node, name);
      },
      Property(node) {
        const name = node.key.type === "Identifier" ? node.key.name : textOf(node.key) ?? "";
        const is_on = node.value.type === "Literal" && node.value.value === true;
        if (is_on && OFF_SWITCHES.test(name)) report(node, name);
      },
    };
  },
};

const plugin: Deno.lint.Plugin = {
  name: "ghost",
  rules: {
    "import-direction": importDirection,
    "dlopen-in-ffi": dlopenInFfi,
    "function-lines": functionLines,
    "no-test-off": noTestOff,
  },
};

export default plugin;
