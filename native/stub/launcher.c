/*
 * Launcher of a packed executable where the start stub cannot be used (tools/compile/pack.ts). The
 * runtime travels behind this program. At the first start it is unpacked to
 *   $XDG_CACHE_HOME/ghost-agents/deno-<hash>, or ~/.cache, or a folder of the user's own in /tmp;
 * from then on it is only checked and started, with bundle and shim in sealed memfds.
 */
#define _GNU_SOURCE
#include "payload.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

extern char **environ;

static void fail(const char *what, const char *cure) {
  fprintf(stderr, "launcher: %s: %s; %s\n", what, strerror(errno), cure);
  exit(1);
}

static int write_all(int fd, const char *bytes, uint64_t count) {
  while (count > 0) {
    ssize_t written = write(fd, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return -1;
    bytes += written;
    count -= (uint64_t)written;
  }
  return 0;
}

/* Not close-on-exec: the runtime opens it after execve. */
static int sealed_memfd(const char *name, const char *bytes, uint64_t count, int min_fd) {
  const char *cure = "the kernel must allow memfd_create and more than 100 open files (ulimit -n)";
  int fd = memfd_create(name, MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_ALLOW_SEALING);
  if (fd < 0 || write_all(fd, bytes, count) != 0) fail("memfd", cure);
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    fail("sealing a memfd", cure);
  int placed = fcntl(fd, F_DUPFD, min_fd);
  if (placed < 0) fail("fcntl(F_DUPFD)", cure);
  close(fd);
  return placed;
}

/* Makes the folder, or accepts one that is ours and that nobody else can write to. */
static int own_folder(const char *path) {
  struct stat status;
  if (mkdir(path, 0700) != 0 && errno != EEXIST) return 0;
  return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
         (status.st_mode & 022) == 0;
}

static int is_unpacked(const char *path, uint64_t bytes) {
  struct stat status;
  return lstat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
         (status.st_mode & 022) == 0 && (uint64_t)status.st_size == bytes;
}

static int unpack(const char *path, const char *bytes, uint64_t count) {
  char temporary[PATH_MAX];
  if (snprintf(temporary, sizeof temporary, "%s.%d", path, getpid()) >= (int)sizeof temporary)
    return 0;
  int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
  if (fd < 0) return 0;
  int is_written = write_all(fd, bytes, count) == 0;
  if (close(fd) == 0 && is_written && rename(temporary, path) == 0) return 1;
  unlink(temporary);
  return 0;
}

/* Path of the unpacked runtime below `parent`, or 0 when that folder cannot be used. */
static const char *runtime_below(const char *parent, const char *folder,
                                 const struct payload_header *header) {
  static char path[PATH_MAX];
  if (parent == NULL || parent[0] != '/') return NULL;
  if (snprintf(path, sizeof path, "%s/%s", parent, folder) >= (int)sizeof path) return NULL;
  if (!own_folder(path)) return NULL;
  int length = snprintf(path, sizeof path, "%s/%s/deno-%.64s", parent, folder,
                        header->runtime_hash);
  if (length >= (int)sizeof path) return NULL;
  const char *bytes = (const char *)header + header->runtime.offset;
  if (is_unpacked(path, header->runtime.bytes)) return path;
  return unpack(path, bytes, header->runtime.bytes) ? path : NULL;
}

static const char *unpacked_runtime(const struct payload_header *header) {
  char cache[PATH_MAX] = "", in_tmp[64];
  const char *home = getenv("HOME"), *path;
  if ((path = runtime_below(getenv("XDG_CACHE_HOME"), "ghost-agents", header))) return path;
  if (home != NULL && snprintf(cache, sizeof cache, "%s/.cache", home) < (int)sizeof cache) {
    mkdir(cache, 0700);
    if ((path = runtime_below(cache, "ghost-agents", header))) return path;
  }
  snprintf(in_tmp, sizeof in_tmp, "ghost-agents-%u", (unsigned)geteuid());
  if ((path = runtime_below("/tmp", in_tmp, header))) return path;
  fail("no folder for the runtime", "set XDG_CACHE_HOME to a folder of yours with 100 MB free");
  return NULL;
}

static const struct payload_header *map_payload(void) {
  const char *cure = "/proc must be mounted, and the file must be whole: copy it again";
  struct stat status;
  uint64_t offset = 0;
  int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &status) != 0) fail("/proc/self/exe", cure);
  if (pread(fd, &offset, 8, status.st_size - 8) != 8 || offset >= (uint64_t)status.st_size)
    fail("reading the payload", cure);
  char *payload = mmap(NULL, (uint64_t)status.st_size - offset, PROT_READ, MAP_PRIVATE, fd,
                       (off_t)offset);
  close(fd);
  if (payload == MAP_FAILED) fail("mapping the payload", cure);
  const struct payload_header *header = (const struct payload_header *)payload;
  if (header->magic != PAYLOAD_MAGIC) fail("the payload", cure);
  return header;
}

int main(int argc, char **argv) {
  const struct payload_header *header = map_payload();
  const char *base = (const char *)header;
  int bundle_fd, shim_fd, min_fd = PAYLOAD_FIRST_FD;
  for (;; min_fd = shim_fd) { /* a pair: JavaScript derives the shim's path from the bundle's */
    bundle_fd = sealed_memfd("bundle", base + header->bundle.offset, header->bundle.bytes, min_fd);
    shim_fd = sealed_memfd("shim", base + header->shim.offset, header->shim.bytes, bundle_fd + 1);
    if (shim_fd == bundle_fd + 1) break;
    close(bundle_fd);
    close(shim_fd);
  }
  char bundle_path[PAYLOAD_PATH_BYTES];
  fd_path(bundle_path, bundle_fd);
  uint64_t env_count = 0;
  while (environ[env_count]) env_count++;
  const char **args = calloc((uint64_t)argc + header->args.count + 2, sizeof *args);
  const char **env = calloc(env_count + header->set.count + 1, sizeof *env);
  if (args == NULL || env == NULL) fail("memory", "free some");
  uint64_t n = 0, user = argc > 0;
  args[n++] = argc > 0 ? argv[0] : "";
  const char *arg = base + header->args.span.offset;
  for (uint64_t i = 0; i < header->args.count; i++, arg = next_string(arg))
    args[n++] = strcmp(arg, "%B") == 0 ? bundle_path : arg;
  while (user < (uint64_t)argc) args[n++] = argv[user++];
  n = 0;
  for (char **each = environ; *each; each++)
    if (!is_dropped(*each, base + header->drop.span.offset, header->drop.count)) env[n++] = *each;
  const char *variable = base + header->set.span.offset;
  for (uint64_t i = 0; i < header->set.count; i++, variable = next_string(variable))
    env[n++] = variable;
  const char *path = unpacked_runtime(header);
  execve(path, (char **)args, (char **)env);
  fail(path, "remove it, it is made again");
}
