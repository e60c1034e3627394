/* Stands in for deno in stub_test.ts: shows what a runtime is given by the start stub. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

extern char **environ;

static void show_file(const char *label, const char *path) {
  char text[64] = "";
  int fd = open(path, O_RDONLY);
  ssize_t bytes = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  printf("%s=%.*s\n", label, bytes < 0 ? 0 : (int)bytes, text);
}

/* ld.so's handler, which the entry gets in rdx, calls this. */
__attribute__((destructor)) static void at_exit(void) { puts("exit handlers run"); }

int main(int argc, char **argv, char **envp) {
  for (int i = 0; i < argc; i++) printf("arg=%s\n", argv[i]);
  for (char **each = envp; *each; each++) printf("env=%s\n", *each);
  printf("same environ=%d\n", environ == envp);
  printf("getenv=%s\n", getenv("DENO_DIR") ? getenv("DENO_DIR") : "");
  printf("page=%lu\n", getauxval(AT_PAGESZ));
  if (argc > 11) {
    char shim[32];
    int fd = atoi(argv[11] + strlen("/proc/self/fd/"));
    snprintf(shim, sizeof shim, "/proc/self/fd/%d", fd + 1);
    show_file("bundle", argv[11]);
    show_file("shim", shim);
    printf("writable=%d\n", (int)write(open(argv[11], O_RDWR), "x", 1) == 1);
    printf("close-on-exec=%d%d\n", fcntl(fd, F_GETFD), fcntl(fd + 1, F_GETFD));
  }
  return 7;
}
