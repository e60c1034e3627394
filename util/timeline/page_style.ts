/**
 * How a timeline's page looks, light and dark.
 *
 * @module
 */

/** The style sheet. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --bg: #ffffff; --fg: #1f2328; --muted: #656d76; --grid: #0000001a; --row: #f3f5f7;
  --band: #0969da14; --line: #d0d7de; --tip: #ffffff;
  --ghost: #1f6feb; --agent: #57606a; --default: #d9730d; --refused: #cf222e;
  --g0: #1f6feb; --g1: #0e8a8a; --g2: #6f42c1; --g3: #2da44e;
  --g4: #3b5bdb; --g5: #0b7285; --g6: #8250df; --g7: #1a7f37;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #0d1117; --fg: #e6edf3; --muted: #8d96a0; --grid: #ffffff1f; --row: #161b22;
    --band: #58a6ff1c; --line: #30363d; --tip: #1c2128;
    --ghost: #388bfd; --agent: #848d97; --default: #e08b3a; --refused: #ff6b6b;
    --g0: #388bfd; --g1: #1b9e9e; --g2: #8a63d2; --g3: #3fa35a;
    --g4: #5c7cfa; --g5: #1a8aa0; --g6: #a371f7; --g7: #2f9e44;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 20px 24px 40px; max-width: 1600px;
  background: var(--bg); color: var(--fg); font: 14px/1.45 system-ui, sans-serif;
}
h1 { margin: 0; font-size: 20px; }
header p { margin: 2px 0 12px; color: var(--muted); }
#marks { display: flex; flex-wrap: wrap; gap: 6px; margin-bottom: 12px; }
button {
  padding: 3px 10px; border: 1px solid var(--line); border-radius: 6px; cursor: pointer;
  background: var(--row); color: var(--fg); font: inherit; font-size: 13px;
}
button:hover, button:focus-visible { border-color: var(--ghost); }
#chart { position: relative; }
canvas { display: block; width: 100%; cursor: crosshair; touch-action: none; }
canvas:focus-visible { outline: 2px solid var(--ghost); outline-offset: 3px; }
#tip {
  position: absolute; z-index: 1; padding: 6px 10px; border: 1px solid var(--line);
  border-radius: 6px; background: var(--tip); box-shadow: 0 4px 14px #0003;
  font: 12px/1.5 ui-monospace, monospace; white-space: pre; pointer-events: none;
}
#legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 12px 0 4px; padding: 0; }
#legend { list-style: none; }
#legend i { display: inline-block; width: 12px; height: 12px; margin-right: 6px;
  border-radius: 2px; vertical-align: -1px; }
#help, #note { margin: 4px 0 16px; color: var(--muted); font-size: 13px; }
#note { color: var(--refused); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 12px; border-bottom: 1px solid var(--line); text-align: right; }
th { color: var(--muted); font-weight: 600; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
`;
