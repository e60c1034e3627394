/*
 * A whole agent in C, for the VM bench: loads the scx program, starts threads under SCHED_EXT and
 * schedules them first come, first served from one CPU, through the maps alone. Ends with 0 if
 * every thread finished and nothing was lost.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
#include "../../bpf/ghost_abi.h"

#ifndef SCHED_EXT
#define SCHED_EXT 7
#endif
#define THREADS 20
#define DEFAULT_ROUNDS 5
#define BURN_NS 10000000ULL
#define SLEEP_US 2000
#define FIRST_CPU 1
#define LIMIT_NS 40000000000ULL
#define FIFO_SLOTS 4096U

static int rounds = DEFAULT_ROUNDS;

static u64 nowNs(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "scx_probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The load: a process of its own, whose threads run and sleep in turn. */

static void *loadThread(void *unused)
{
	for (int round = 0; round < rounds; round++) {
		struct timespec t;
		u64 start, now;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
		start = (u64)t.tv_sec * 1000000000ULL + t.tv_nsec;
		do {
			clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
			now = (u64)t.tv_sec * 1000000000ULL + t.tv_nsec;
		} while (now - start < BURN_NS);
		if (round == 2)
			sched_yield();
		usleep(SLEEP_US);
	}
	return unused;
}

static int runLoad(void)
{
	struct sched_param param = { 0 };
	pthread_t threads[THREADS];

	if (sched_setscheduler(0, SCHED_EXT, &param))
		fail("sched_setscheduler(SCHED_EXT)");
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, loadThread, NULL))
			fail("pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

/* The agent. */

struct agent {
	struct ghost_queue *queue;
	struct ghost_sw_region *region;
	struct ghost_cpu_data *cpus;
	struct scx_report *report;
	int commit_fd;
	int free_words_fd;
	int cpu_count;
	u32 fifo[FIFO_SLOTS]; /* indices of status words */
	u32 first, last;
	u64 running[MAX_CPUS]; /* gtid that was sent to a CPU and has not come back */
	u32 word_of_tid[1 << 16];
	u32 counts[256];
	u32 complete, refused;
};

static void *mapValues(int fd, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		fail("mmap of a map");
	return at;
}

static void push(struct agent *agent, u64 gtid)
{
	u32 word = agent->word_of_tid[(gtid >> GTID_SEQNUM_BITS) & 0xffff];

	agent->fifo[agent->last++ % FIFO_SLOTS] = word;
}

static void leaveCpu(struct agent *agent, u64 gtid)
{
	for (int cpu = 0; cpu < agent->cpu_count; cpu++)
		if (agent->running[cpu] == gtid)
			agent->running[cpu] = 0;
}

static void freeWord(struct agent *agent, u64 gtid)
{
	u32 word = agent->word_of_tid[(gtid >> GTID_SEQNUM_BITS) & 0xffff];

	agent->region->words[word].flags = 0;
	if (bpf_map_update_elem(agent->free_words_fd, NULL, &word, 0))
		fail("giving a status word back");
}

static void handle(struct agent *agent, const u32 *message)
{
	u16 type = message[0] & 0xffff;
	u64 gtid = message[2] | (u64)message[3] << 32;

	agent->counts[type & 255]++;
	switch (type) {
	case MSG_TASK_NEW:
		agent->word_of_tid[(gtid >> GTID_SEQNUM_BITS) & 0xffff] = message[2 + 9];
		if (message[2 + 6] & 0xffff)
			push(agent, gtid);
		break;
	case MSG_TASK_WAKEUP:
		push(agent, gtid);
		break;
	case MSG_TASK_PREEMPT:
	case MSG_TASK_YIELD:
	case MSG_TASK_LATCH_FAILURE:
		leaveCpu(agent, gtid);
		push(agent, gtid);
		break;
	case MSG_TASK_BLOCKED:
		leaveCpu(agent, gtid);
		break;
	case MSG_TASK_DEAD:
	case MSG_TASK_DEPARTED:
		leaveCpu(agent, gtid);
		freeWord(agent, gtid);
		break;
	default:
		break;
	}
}

static void drain(struct agent *agent)
{
	struct ghost_queue *queue = agent->queue;
	u32 tail = queue->tail;

	while (__atomic_load_n(&queue->head, __ATOMIC_ACQUIRE) != tail) {
		const u32 *message = &queue->slots[(tail & (QUEUE_SLOTS - 1)) * 2];

		handle(agent, message);
		tail += ((message[0] >> 16) + 7) / 8;
		__atomic_store_n(&queue->tail, tail, __ATOMIC_RELEASE);
	}
}

/* Commits the oldest runnable task to a CPU that has none. */
static void place(struct agent *agent, int cpu)
{
	struct ghost_txn *txn = &agent->cpus[cpu].txn;
	struct scx_commit_args args = { .cpus = 1ULL << cpu };
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &args, .ctx_size_in = sizeof(args));
	struct ghost_status_word *word;
	u64 gtid;

	if (agent->running[cpu] || agent->first == agent->last)
		return;
	word = &agent->region->words[agent->fifo[agent->first % FIFO_SLOTS]];
	gtid = word->gtid;
	txn->version = GHOST_VERSION;
	txn->cpu = cpu;
	txn->task_barrier = __atomic_load_n(&word->barrier, __ATOMIC_ACQUIRE);
	txn->gtid = gtid;
	__atomic_store_n(&txn->state, GHOST_TXN_READY, __ATOMIC_RELEASE);
	if (bpf_prog_test_run_opts(agent->commit_fd, &options))
		fail("commit");
	if (__atomic_load_n(&txn->state, __ATOMIC_ACQUIRE) == GHOST_TXN_COMPLETE) {
		agent->first++;
		agent->running[cpu] = gtid;
		agent->complete++;
	} else {
		agent->refused++; /* a message is on its way that says why */
		agent->first++;
		if (word->flags & GHOST_SW_TASK_RUNNABLE && !(word->flags & GHOST_SW_F_CANFREE))
			agent->fifo[agent->last++ % FIFO_SLOTS] = word - agent->region->words;
	}
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, format, args);
}

static int fdOf(struct bpf_object *object, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(object, name);

	if (fd < 0)
		fail(name);
	return fd;
}

static void prepare(struct agent *agent, struct bpf_object *object)
{
	agent->queue = mapValues(fdOf(object, "queues"), sizeof(struct ghost_queue) * QUEUE_COUNT);
	agent->region = mapValues(fdOf(object, "status_words"), sizeof(struct ghost_sw_region));
	agent->cpus = mapValues(fdOf(object, "cpu_data"), sizeof(struct ghost_cpu_data) * MAX_CPUS);
	agent->report = mapValues(fdOf(object, "report"), 4096);
	agent->free_words_fd = fdOf(object, "free_words");
	agent->commit_fd =
		bpf_program__fd(bpf_object__find_program_by_name(object, "ghost_commit"));
	agent->cpu_count = sysconf(_SC_NPROCESSORS_ONLN);
	for (u32 i = 0; i < QUEUE_COUNT; i++) {
		agent->queue[i].start = 64;
		agent->queue[i].nelems = QUEUE_SLOTS;
	}
	agent->region->start = 64;
	agent->region->capacity = WORD_COUNT;
	for (u32 i = 0; i < WORD_COUNT; i++)
		if (bpf_map_update_elem(agent->free_words_fd, NULL, &i, 0))
			fail("filling the list of status words");
}

static void becomeAgent(void)
{
	struct sched_param param = { .sched_priority = 50 };
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) ||
	    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		fail("becoming an agent");
}

static int verdict(struct agent *agent, int load_status, u64 took_ns)
{
	const u32 *counts = agent->counts;
	const struct scx_report *report = agent->report;
	int is_good = load_status == 0 && counts[MSG_TASK_NEW] == THREADS + 1 &&
		      counts[MSG_TASK_DEAD] == THREADS + 1 && agent->queue->overflow == 0 &&
		      report->no_word_count == 0 && report->exit_kind == 0 &&
		      counts[MSG_TASK_YIELD] == THREADS &&
		      counts[MSG_TASK_BLOCKED] >= (u32)(THREADS * (rounds - 1));

	printf("new %u wakeup %u blocked %u preempt %u yield %u dead %u departed %u failed %u\n",
	       counts[MSG_TASK_NEW], counts[MSG_TASK_WAKEUP], counts[MSG_TASK_BLOCKED],
	       counts[MSG_TASK_PREEMPT], counts[MSG_TASK_YIELD], counts[MSG_TASK_DEAD],
	       counts[MSG_TASK_DEPARTED], counts[MSG_TASK_LATCH_FAILURE]);
	printf("complete %u refused %u dispatched %u overflow %u no_word %u exit_kind %d %s %s\n",
	       agent->complete, agent->refused, report->dispatched_count, agent->queue->overflow,
	       report->no_word_count, report->exit_kind, report->reason, report->message);
	printf("load status %d after %llu ms: %s\n", load_status,
	       (unsigned long long)took_ns / 1000000, is_good ? "good" : "BAD");
	return is_good ? 0 : 1;
}

int main(int argc, char **argv)
{
	static struct agent agent;
	struct bpf_object *object;
	struct bpf_link *link;
	int status = -1, load_status = -1;
	u64 start_ns;
	pid_t load;

	if (argc == 3)
		rounds = atoi(argv[2]);
	if (argc < 2 || argc > 3 || rounds < 3) {
		fprintf(stderr, "usage: scx_probe OBJECT [ROUNDS of 3 or more]\n");
		return 2;
	}
	libbpf_set_print(quiet);
	object = bpf_object__open_file(argv[1], NULL);
	if (!object || bpf_object__load(object))
		fail("loading the scx program");
	prepare(&agent, object);
	link = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(object, "ghost_ops"));
	if (!link)
		fail("attaching the scx program");
	becomeAgent();
	start_ns = nowNs();
	load = fork();
	if (load == 0) {
		cpu_set_t all;

		memset(&all, 0xff, sizeof(all));
		sched_setaffinity(0, sizeof(all), &all);
		_exit(runLoad());
	}
	printf("load %d\n", load);
	fflush(stdout);
	while (nowNs() - start_ns < LIMIT_NS) {
		drain(&agent);
		for (int cpu = FIRST_CPU; cpu < agent.cpu_count; cpu++)
			place(&agent, cpu);
		if (load_status < 0 && waitpid(load, &status, WNOHANG) == load)
			load_status = status;
		if (load_status >= 0 &&
		    agent.counts[MSG_TASK_DEAD] + agent.counts[MSG_TASK_DEPARTED] >=
			    agent.counts[MSG_TASK_NEW])
			break;
		usleep(100);
	}
	status = verdict(&agent, load_status, nowNs() - start_ns);
	bpf_link__destroy(link);
	return status;
}
