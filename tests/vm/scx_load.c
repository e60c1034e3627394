/*
 * Loads for the VM's scx jobs: threads of an unmodified program, which know nothing of agents.
 *
 *   scx_load phases THREADS ROUNDS   10 ms of CPU, 2 ms of sleep, ROUNDS times
 *   scx_load exec COMMAND [ARGUMENTS]  becomes a command that is SCHED_EXT, of no enclave
 *   scx_load bound THREADS ROUNDS    binds each thread to one CPU of the host after the other,
 *                                    ROUNDS times, with 3 ms of CPU on each
 *   scx_load end SIGNAL PID...       sends the signal; prints when no scheduler is loaded any more
 *   scx_load order THREADS MS        each thread takes MS of CPU once, all from the same moment on;
 *                                    prints the tids as they end
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 1000
#define PHASE_MS 10
#define SLEEP_US 2000
#define BOUND_MS 3
#define END_LOOK_US 10000
#define END_LOOKS 2000
#define START_DELAY_S 3
#define NS_PER_MS 1000000LL

static int rounds = 1;
static long burn_ms = PHASE_MS;
static struct timespec start_time;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ended[THREADS_MAX];
static int ended_count;
static int misplaced_count;

static long long nowNs(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000 * NS_PER_MS + t.tv_nsec;
}

static void burn(void)
{
	long long end_ns = nowNs(CLOCK_THREAD_CPUTIME_ID) + burn_ms * NS_PER_MS;

	while (nowNs(CLOCK_THREAD_CPUTIME_ID) < end_ns)
		;
}

static void *runPhases(void *unused)
{
	for (int round = 0; round < rounds; round++) {
		burn();
		if (round == 2)
			sched_yield();
		usleep(SLEEP_US);
	}
	return unused;
}

static void *runBound(void *index)
{
	const int cpu_count = (int)sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	for (int round = 0; round < rounds * cpu_count; round++) {
		const int cpu = (int)((round + (long)index) % cpu_count);

		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set)) {
			perror("scx_load: sched_setaffinity");
			exit(1);
		}
		burn();
		if (sched_getcpu() != cpu)
			__atomic_fetch_add(&misplaced_count, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* All wake up from one interrupt, so that whoever schedules them has a choice. */
static void *runOnce(void *unused)
{
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &start_time, NULL);
	burn();
	pthread_mutex_lock(&lock);
	ended[ended_count++] = (int)syscall(SYS_gettid);
	pthread_mutex_unlock(&lock);
	return unused;
}

#ifndef SCHED_EXT
#define SCHED_EXT 7
#endif

static int runExt(char **argv)
{
	struct sched_param param = { .sched_priority = 0 };

	if (sched_setscheduler(0, SCHED_EXT, &param)) {
		perror("scx_load: SCHED_EXT");
		return 126;
	}
	execvp(argv[0], argv);
	perror(argv[0]);
	return 127;
}

/* Before all other threads: those that are set free would keep it from looking. */
static int endAgent(char **argv)
{
	struct sched_param param = { .sched_priority = 50 };
	long long start_ns;
	char state[16];
	int file = open("/sys/kernel/sched_ext/state", O_RDONLY);

	if (file < 0 || sched_setscheduler(0, SCHED_FIFO, &param)) {
		perror("scx_load end");
		return 1;
	}
	start_ns = nowNs(CLOCK_MONOTONIC);
	for (int i = 1; argv[i]; i++)
		kill(atoi(argv[i]), atoi(argv[0]));
	for (int look = 0; look < END_LOOKS; look++) {
		usleep(END_LOOK_US);
		if (pread(file, state, sizeof(state), 0) > 0 && strncmp(state, "disabled", 8) == 0)
			break;
	}
	printf("ejected_ms %lld\n", (nowNs(CLOCK_MONOTONIC) - start_ns) / NS_PER_MS);
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS_MAX];
	void *(*run)(void *) = runPhases;
	int count;
	long long start_ns = nowNs(CLOCK_MONOTONIC);

	if (argc > 2 && strcmp(argv[1], "exec") == 0)
		return runExt(argv + 2);
	if (argc > 3 && strcmp(argv[1], "end") == 0)
		return endAgent(argv + 2);
	if (argc != 4 || (count = atoi(argv[2])) < 1 || count > THREADS_MAX) {
		fprintf(stderr, "usage: scx_load phases|bound|end|order|exec ...\n");
		return 2;
	}
	printf("started\n");
	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &start_time);
	start_time.tv_sec += START_DELAY_S;
	if (strcmp(argv[1], "order") == 0) {
		run = runOnce;
		burn_ms = atoi(argv[3]);
	} else {
		rounds = atoi(argv[3]);
	}
	if (strcmp(argv[1], "bound") == 0) {
		run = runBound;
		burn_ms = BOUND_MS;
	}
	for (long i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, run, (void *)i))
			return 1;
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < ended_count; i++)
		printf("%d%s", ended[i], i + 1 < ended_count ? " " : "\n");
	printf("policy %d, %d threads ended after %lld ms\n", sched_getscheduler(0), count,
	       (nowNs(CLOCK_MONOTONIC) - start_ns) / NS_PER_MS);
	if (misplaced_count)
		printf("%d times on another CPU\n", misplaced_count);
	return misplaced_count != 0;
}
