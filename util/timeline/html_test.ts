import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { writeHtml } from "./html.ts";
import { FakeBrowser } from "./test_browser.ts";
import { testTimeline, TextBuffer } from "./test_timeline.ts";

function pageOf(span_max?: number): string {
  const buffer = new TextBuffer();
  writeHtml(testTimeline(span_max), buffer);
  return buffer.text;
}

function scriptOf(page: string): string {
  const scripts = [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)];
  assertEquals(scripts.length, 1);
  return scripts[0][1];
}

Deno.test("the page needs nothing from outside", () => {
  const page = pageOf();
  for (const word of ["http:", "https:", "src=", "href=", "url(", "@import", "fetch(", "import("]) {
    assertEquals(page.includes(word), false, word);
  }
});

Deno.test("names cannot break out of the page", () => {
  const page = pageOf();
  assertEquals(page.includes("<b>"), false);
  assertEquals(page.match(/<\/script>/g)?.length, 1);
  assertStringIncludes(page, "<title>agent: &#60;/script&#62;&#60;b&#62;</title>");
  assertStringIncludes(page, "2 CPUs &#38; a seed");
});

Deno.test("the table is there without the script", () => {
  const html = pageOf().split("<script>")[0];
  assertStringIncludes(html, "<th>sub-test</th><th>time</th>");
  assertStringIncludes(html, "<td>Two &#60;2&#62;</td><td>45 us</td>");
  assertStringIncludes(html, "<noscript>");
});

Deno.test("the page is light and dark, and has a legend", () => {
  const page = pageOf();
  assertStringIncludes(page, "prefers-color-scheme: dark");
  for (const text of ["ghOSt thread", "agent", "default class", "refused commit"]) {
    assertMatch(page, new RegExp(`<li><i style="background:var\\(--\\w+\\)"></i>${text}`));
  }
});

Deno.test("a page that could not show everything says so, another one does not", () => {
  assertStringIncludes(pageOf(3), '<p id="note">truncated: 2 of 6 records');
  assertEquals(pageOf().includes("truncated"), false);
});

Deno.test("the script in the page runs and draws every CPU's spans", () => {
  const browser = new FakeBrowser();
  try {
    new Function("document", scriptOf(pageOf()))(browser.document);
    const { pen } = browser.canvas;
    assert(pen.texts.includes("CPU 0") && pen.texts.includes("CPU 1"));
    assert(pen.texts.includes("nap 0"));
    assertEquals(pen.triangle_count, 1);
    const names = browser.marks.children.map((button) => button.textContent);
    assertEquals(names, ["whole run", "One", "Two <2>"]);
  } finally {
    browser.close();
  }
});

Deno.test("the same timeline gives the same page", () => {
  assertEquals(pageOf(), pageOf());
});
