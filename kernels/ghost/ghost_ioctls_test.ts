import { assertEquals } from "@std/assert";
import { ABI_VERSIONS, abiOf } from "../../ffi/abi/abi.ts";
import { offsetOf } from "../../ffi/abi/layout.ts";
import { STRUCT_WORDS_BY_NAME } from "./ghost_ioctls.ts";

/** Fields of structs within structs, by the name that the words have here. */
const NESTED: Readonly<Record<string, readonly [string, string, string]>> = {
  "ghost_ioc_sw_get_info.type": ["request", "ghost_msg_src", "type"],
  "ghost_ioc_sw_get_info.arg": ["request", "ghost_msg_src", "arg"],
  "ghost_ioc_sw_get_info.index": ["response", "ghost_sw_info", "index"],
  "ghost_ioc_assoc_queue.type": ["src", "ghost_msg_src", "type"],
  "ghost_ioc_assoc_queue.arg": ["src", "ghost_msg_src", "arg"],
  "ghost_ioc_timerfd_settime.cpu": ["timerfd_ghost", "timerfd_ghost", "cpu"],
  "ghost_ioc_timerfd_settime.ghost_flags": ["timerfd_ghost", "timerfd_ghost", "flags"],
  "ghost_ioc_timerfd_settime.type": ["timerfd_ghost", "timerfd_ghost", "type"],
  "ghost_ioc_timerfd_settime.cookie": ["timerfd_ghost", "timerfd_ghost", "cookie"],
};

for (const version of ABI_VERSIONS) {
  Deno.test(`ABI ${version}: the words of every ioctl are where the ABI table has them`, () => {
    const { structs } = abiOf(version)!;
    for (const [name, words] of Object.entries(STRUCT_WORDS_BY_NAME)) {
      for (const [field, word] of Object.entries(words)) {
        const [outer, nested, inner] = NESTED[`${name}.${field}`] ?? [field, "", ""];
        let offset = offsetOf(structs[name], outer);
        if (nested !== "") offset += offsetOf(structs[nested], inner);
        assertEquals(word * 4, offset, `${name}.${field}`);
      }
    }
  });
}
