/*
 * Threads that work, yield and sleep until they are told to end, and how long one of them did not
 * run at most. Shell lines move them into ghOSt and out; the policy of a thread is not their care.
 *
 * usage: stall_load THREADS FILE: ends once FILE is there, and prints
 *   stall_ms N       for every time in which a thread did not run for 200 ms and more
 *   stalls N worst_ms N lost N min_rounds N
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };
#define MS_NS 1000000ull
#define STALL_NS (200 * MS_NS)
/* A thread that did not run for so long at the end is lost. */
#define LOST_NS (5000 * MS_NS)
#define LOOK_US 5000
#define NAP_US 2000
#define WORK_NS 300000ull
#define YIELDS 20

struct worker {
  _Alignas(64) _Atomic uint64_t last_ns;
  _Atomic uint64_t round_count;
};

static struct worker workers[THREADS_MAX];
static atomic_int is_over;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* All sleep now and then; a third yield between, a third work, so that there is time for others. */
static void *work(void *arg) {
  struct worker *self = arg;
  int kind = (int)((self - workers) % 3);
  while (!is_over) {
    self->last_ns = now_ns();
    self->round_count++;
    for (int yields = kind == 1 ? YIELDS : 0; yields > 0; yields--) sched_yield();
    uint64_t end_ns = now_ns() + (kind == 2 ? WORK_NS : 0);
    while (now_ns() < end_ns) {
    }
    usleep(NAP_US);
  }
  return NULL;
}

/* How long the thread that ran last before all others has not run. */
static uint64_t longest_ns(int count) {
  uint64_t longest = 0;
  for (int at = 0; at < count; at++) {
    uint64_t last = workers[at].last_ns, now = now_ns();
    if (now > last && now - last > longest) longest = now - last;
  }
  return longest;
}

int main(int argc, char **argv) {
  int count = argc == 3 ? atoi(argv[1]) : 0;
  if (count < 1 || count > THREADS_MAX) {
    fprintf(stderr, "usage: stall_load THREADS FILE (1 to %d threads)\n", THREADS_MAX);
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  pthread_t threads[THREADS_MAX];
  for (int at = 0; at < count; at++) {
    workers[at].last_ns = now_ns();
    if (pthread_create(&threads[at], NULL, work, &workers[at]) != 0) return 1;
  }
  uint64_t worst = 0, stall = 0;
  int stall_count = 0;
  while (access(argv[2], F_OK) != 0) {
    usleep(LOOK_US);
    uint64_t longest = longest_ns(count);
    if (longest > stall && longest > STALL_NS) stall = longest;
    if (longest > STALL_NS || stall == 0) continue;
    printf("stall_ms %llu\n", (unsigned long long)(stall / MS_NS));
    if (stall > worst) worst = stall;
    stall = 0;
    stall_count++;
  }
  int lost_count = 0;
  uint64_t min_rounds = UINT64_MAX;
  for (int at = 0; at < count; at++) {
    uint64_t now = now_ns(), last = workers[at].last_ns;
    if (now > last && now - last > LOST_NS) lost_count++;
    if (workers[at].round_count < min_rounds) min_rounds = workers[at].round_count;
  }
  if (stall > worst) worst = stall;
  printf("stalls %d worst_ms %llu lost %d min_rounds %llu\n", stall_count,
         (unsigned long long)(worst / MS_NS), lost_count, (unsigned long long)min_rounds);
  is_over = 1;
  for (int at = 0; at < count; at++) pthread_join(threads[at], NULL);
  puts("joined");
  return 0;
}
