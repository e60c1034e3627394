/*
 * What tools/compile/payload.ts puts in front of the parts it packs, and the code that the start
 * stub (stub.c, freestanding) and the launcher (launcher.c, hosted) share. Little-endian, 64 bit.
 */
#ifndef GHOST_STUB_PAYLOAD_H
#define GHOST_STUB_PAYLOAD_H

#include <stdint.h>

#define PAYLOAD_MAGIC 0x31304b4341504847ull /* "GHPACK01" */
#define PAYLOAD_HEADER_BYTES 4096

struct payload_span {
  uint64_t offset; /* from the header's first byte */
  uint64_t bytes;
};

/* Lists are NUL-terminated strings one after the other, `count` of them. */
struct payload_list {
  struct payload_span span;
  uint64_t count;
};

struct payload_header {
  uint64_t magic;
  uint64_t segment_vaddr;      /* address of this header as linked; 0 in the launcher's payload */
  uint64_t original_entry;     /* the runtime's own e_entry, as linked */
  uint64_t environ_slot;       /* GOT slot that holds &environ, as linked; 0 if there is none */
  struct payload_list args;    /* inserted after argv[0]; "%B" stands for the bundle's path */
  struct payload_list drop;    /* variables whose names start so are hidden from the runtime */
  struct payload_list set;     /* NAME=VALUE added to the runtime's environment */
  struct payload_span bundle;  /* the JavaScript module */
  struct payload_span shim;    /* the shared object; 0 bytes if there is none */
  struct payload_span runtime; /* launcher only: the deno executable */
  char runtime_hash[72];       /* launcher only: its SHA-256 in hex, names the cached copy */
};

/* The bundle's memfd gets the first free descriptor from here on, the shim's the next one. */
#define PAYLOAD_FIRST_FD 100
#define PAYLOAD_PATH_BYTES 32 /* "/proc/self/fd/" and a decimal int */

static inline int starts_with(const char *text, const char *prefix) {
  while (*prefix)
    if (*text++ != *prefix++) return 0;
  return 1;
}

static inline const char *next_string(const char *text) {
  while (*text) text++;
  return text + 1;
}

static inline int is_dropped(const char *variable, const char *names, uint64_t count) {
  for (uint64_t i = 0; i < count; i++, names = next_string(names))
    if (starts_with(variable, names)) return 1;
  return 0;
}

/* Writes "/proc/self/fd/<fd>" to `out` (PAYLOAD_PATH_BYTES long). */
static inline void fd_path(char *out, int fd) {
  const char prefix[] = "/proc/self/fd/";
  char digits[12];
  int digit_count = 0;
  for (unsigned i = 0; i < sizeof(prefix) - 1; i++) *out++ = prefix[i];
  do digits[digit_count++] = (char)('0' + fd % 10);
  while ((fd /= 10) != 0);
  while (digit_count > 0) *out++ = digits[--digit_count];
  *out = 0;
}

#endif
