import { assertEquals } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { VERSION } from "./version.ts";

Deno.test("the version is deno.json's", () => {
  assertEquals(VERSION, config.version);
});
