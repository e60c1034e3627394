/*
 * Start stub of a packed executable (tools/compile/pack.ts). ld.so has set up the runtime's
 * libraries and jumps here instead of to the runtime's own entry. The stub puts bundle and shim
 * into sealed memfds, lays out a new argument block in which the runtime finds
 *   argv[0] run <flags> /proc/self/fd/<bundle> <the user's arguments>
 * and an environment without the variables that would change how the runtime behaves, and goes on
 * to the original entry. What the kernel shows (comm, cmdline, environ, exe) stays as the user
 * started it. Freestanding: libc is mapped but not initialised for our use.
 */
#include "payload.h"

#if !defined(__x86_64__)
#error "the start stub is x86-64 only; other machines use launcher.c"
#endif

#define SYS_write 1
#define SYS_close 3
#define SYS_fcntl 72
#define SYS_exit_group 231
#define SYS_memfd_create 319

#define MFD_CLOEXEC 1u
#define MFD_ALLOW_SEALING 2u
#define MFD_NOEXEC_SEAL 8u /* Linux 6.3; forbids execve, not the mmap that dlopen does */
#define F_DUPFD_CLOEXEC 1030
#define F_ADD_SEALS 1033
#define SEALS (1 | 2 | 4 | 8) /* SEAL, SHRINK, GROW, WRITE */
#define EINTR 4
#define EINVAL 22

static long call3(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c)
                   : "rcx", "r11", "memory");
  return result;
}

/* The compiler may turn loops into calls of these. */
__attribute__((used)) void *memcpy(void *to, const void *from, unsigned long bytes) {
  void *start = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
  return start;
}

__attribute__((used)) void *memset(void *to, int value, unsigned long bytes) {
  void *start = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
  return start;
}

static void write_text(const char *text) {
  call3(SYS_write, 2, (long)text, next_string(text) - text - 1);
}

__attribute__((noreturn)) static void fail(const char *what, long error) {
  char digits[8];
  int i = sizeof digits;
  long value = error < 0 ? -error : error;
  digits[--i] = 0;
  do digits[--i] = (char)('0' + value % 10);
  while ((value /= 10) != 0 && i > 0);
  write_text("start stub: ");
  write_text(what);
  write_text(" failed (errno ");
  write_text(digits + i);
  write_text("); the kernel must allow memfd_create and more than 100 open files (ulimit -n)\n");
  call3(SYS_exit_group, 1, 0, 0);
  __builtin_unreachable();
}

/* A sealed memfd with the given bytes, at the first free descriptor from `min_fd` on. */
static int sealed_memfd(const char *name, const char *bytes, uint64_t count, int min_fd) {
  long flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  long fd = call3(SYS_memfd_create, (long)name, flags | MFD_NOEXEC_SEAL, 0);
  if (fd == -EINVAL) fd = call3(SYS_memfd_create, (long)name, flags, 0);
  if (fd < 0) fail("memfd_create", fd);
  while (count > 0) {
    long written = call3(SYS_write, fd, (long)bytes, (long)count);
    if (written == -EINTR) continue;
    if (written <= 0) fail("write to a memfd", written);
    bytes += written;
    count -= (uint64_t)written;
  }
  long error = call3(SYS_fcntl, fd, F_ADD_SEALS, SEALS);
  if (error < 0) fail("sealing a memfd", error);
  long placed = call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, min_fd);
  if (placed < 0) fail("fcntl(F_DUPFD)", placed);
  call3(SYS_close, fd, 0, 0);
  return (int)placed;
}

/* The start of the block that the kernel made: argc, argv, NULL, envp, NULL, auxv. */
struct start_block {
  long argc;
  char **argv;
  char **envp;
  uint64_t env_count;
  uint64_t *auxv;
  uint64_t aux_words;
};

static struct start_block read_block(long *sp) {
  struct start_block block = {.argc = sp[0], .argv = (char **)(sp + 1)};
  block.envp = block.argv + block.argc + 1;
  while (block.envp[block.env_count]) block.env_count++;
  block.auxv = (uint64_t *)(block.envp + block.env_count + 1);
  while (block.auxv[block.aux_words]) block.aux_words += 2;
  block.aux_words += 2;
  return block;
}

/* Bytes to reserve below the old block, a multiple of 16. Called from stub_start. */
__attribute__((used, visibility("hidden"))) uint64_t stub_need(long *sp,
                                                               struct payload_header *header) {
  struct start_block block = read_block(sp);
  uint64_t words = 1 + (uint64_t)block.argc + header->args.count + 1 + block.env_count +
                   header->set.count + 1 + block.aux_words;
  return ((words * 8 + PAYLOAD_PATH_BYTES) + 15) & ~15ull;
}

/* libc's environ already points at the old block, so make it point at the new one. */
static void replace_environ(struct payload_header *header, char **old_envp, char **new_envp) {
  char *base = (char *)header - header->segment_vaddr;
  if (header->environ_slot != 0) {
    char ***slot = *(char ****)(base + header->environ_slot);
    if (slot != 0) *slot = new_envp;
  }
  /* Without that slot at least the dropped variables must be gone from the old block. */
  char **kept = old_envp;
  for (char **each = old_envp; *each; each++) {
    const char *names = (const char *)header + header->drop.span.offset;
    if (!is_dropped(*each, names, header->drop.count)) *kept++ = *each;
  }
  *kept = 0;
}

/* Fills the new block at `to` and returns the address to go on at. Called from stub_start. */
__attribute__((used, visibility("hidden"))) uint64_t stub_fill(long *sp,
                                                               struct payload_header *header,
                                                               long *to) {
  const char *base = (const char *)header;
  if (header->magic != PAYLOAD_MAGIC) fail("reading the payload", 0);
  struct start_block block = read_block(sp);
  int bundle_fd, shim_fd, min_fd = PAYLOAD_FIRST_FD;
  for (;; min_fd = shim_fd) { /* a pair: JavaScript derives the shim's path from the bundle's */
    bundle_fd = sealed_memfd("bundle", base + header->bundle.offset, header->bundle.bytes, min_fd);
    shim_fd = sealed_memfd("shim", base + header->shim.offset, header->shim.bytes, bundle_fd + 1);
    if (shim_fd == bundle_fd + 1) break;
    call3(SYS_close, bundle_fd, 0, 0);
    call3(SYS_close, shim_fd, 0, 0);
  }
  char **out = (char **)(to + 1);
  to[0] = block.argc + (long)header->args.count;
  char *path = (char *)to + stub_need(sp, header) - PAYLOAD_PATH_BYTES;
  fd_path(path, bundle_fd);
  long user = 0;
  if (block.argc > 0) *out++ = block.argv[user++];
  const char *arg = base + header->args.span.offset;
  for (uint64_t i = 0; i < header->args.count; i++, arg = next_string(arg))
    *out++ = arg[0] == '%' && arg[1] == 'B' && arg[2] == 0 ? path : (char *)arg;
  while (user < block.argc) *out++ = block.argv[user++];
  *out++ = 0;
  char **envp = out;
  const char *names = base + header->drop.span.offset;
  for (char **each = block.envp; *each; each++)
    if (!is_dropped(*each, names, header->drop.count)) *out++ = *each;
  const char *variable = base + header->set.span.offset;
  for (uint64_t i = 0; i < header->set.count; i++, variable = next_string(variable))
    *out++ = (char *)variable;
  *out++ = 0;
  memcpy(out, block.auxv, block.aux_words * 8);
  replace_environ(header, block.envp, envp);
  return (uint64_t)base - header->segment_vaddr + header->original_entry;
}

/* On entry: rsp = the kernel's block, rdx = ld.so's exit handler, which the entry must get. */
__asm__(".section .text.start,\"ax\",@progbits\n"
        ".globl stub_start\n"
        "stub_start:\n"
        "  lea stub_start(%rip), %r13\n"
        "  sub $4096, %r13\n" /* the header is the page before (PAYLOAD_HEADER_BYTES) */
        "  mov %rsp, %rbx\n"
        "  mov %rdx, %r12\n"
        "  mov %rbx, %rdi\n"
        "  mov %r13, %rsi\n"
        "  call stub_need\n"
        "  sub %rax, %rsp\n"
        "  mov %rsp, %rdx\n"
        "  mov %rbx, %rdi\n"
        "  mov %r13, %rsi\n"
        "  call stub_fill\n"
        "  mov %r12, %rdx\n"
        "  xor %ebp, %ebp\n"
        "  jmp *%rax\n"
        ".previous\n");
