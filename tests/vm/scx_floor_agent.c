/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A first-come-first-served agent of one CPU in C, for the bench of --kernel=scx: the same scx
 * program and the same calls (native/scx_agent.c) as the agents in TypeScript, with next to nothing
 * between them. It shows what the way to user space and back costs by itself.
 *
 *   scx_floor_agent LOADER CPU    says "ready", then schedules until it is killed
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../native/ghost_abi.h"

#define TASKS_MAX 256
#define RING_SLOTS 1024
#define LINE_BYTES 128

/* native/scx_agent.c */
double shim_scx_call(int32_t fd, u32 op, u32 enclave, s32 a, s32 b, s32 lo, s32 hi);
double shim_scx_become_agent(const double *where);
int32_t shim_scx_agent_word(double handle);
int32_t shim_scx_local_commit(double handle);
int32_t shim_scx_local_yield(double handle, int32_t barrier, u32 run_flags);

struct task {
	u64 gtid; /* 0: a free place */
	u32 word;
	u32 barrier;
	int is_waiting;
};

static struct task tasks[TASKS_MAX];
static u32 fifo[TASKS_MAX], fifo_head, fifo_tail;
static int commit_fd, control_fd, doorbells_fd, queues_fd, words_fd, cpu_data_fd, turns_fd;

static void die(const char *step)
{
	fprintf(stderr, "scx_floor_agent: %s: %s\n", step, strerror(errno));
	exit(1);
}

/* ---- the program ---- */

static void takeDescriptor(int pidfd, const char *line)
{
	static const struct {
		const char *name;
		int *fd;
	} wanted[] = {
		{ "ghost_commit", &commit_fd }, { "ghost_control", &control_fd },
		{ "doorbells", &doorbells_fd }, { "queues", &queues_fd },
		{ "status_words", &words_fd },	{ "cpu_data", &cpu_data_fd },
		{ "turns", &turns_fd },
	};
	char name[LINE_BYTES];
	int number, copy;

	if (sscanf(line, "fd %100s %d", name, &number) != 2)
		return;
	copy = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (copy < 0)
		die("pidfd_getfd");
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (strcmp(wanted[i].name, name) == 0)
			*wanted[i].fd = copy;
}

/* Runs the loader and takes copies of its descriptors: this process holds the program then. */
static void loadProgram(const char *loader)
{
	int in[2], out[2], pidfd;
	char line[LINE_BYTES] = "";
	FILE *lines;
	pid_t pid;

	if (pipe(in) || pipe(out) || (pid = fork()) < 0)
		die("fork");
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		execl(loader, loader, "16", "30000", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	lines = fdopen(out[0], "r");
	while (fgets(line, sizeof(line), lines) && strcmp(line, "ready\n"))
		takeDescriptor(pidfd, line);
	if (strcmp(line, "ready\n"))
		die("the loader failed");
	close(in[1]);
	waitpid(pid, NULL, 0);
}

static void *map(int fd, size_t offset, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

static int call(u32 op, s32 a, s32 b, u64 value)
{
	double result = shim_scx_call(control_fd, op, 0, a, b, (s32)(u32)value, (s32)(value >> 32));

	if (result < 0) {
		errno = (int)-result;
		die("the control program");
	}
	return (int)result;
}

/* ---- the policy ---- */

static void push(struct task *task)
{
	if (task->is_waiting)
		return;
	task->is_waiting = 1;
	fifo[fifo_tail++ % TASKS_MAX] = (u32)(task - tasks);
}

static struct task *find(u64 gtid)
{
	for (u32 i = 0; i < TASKS_MAX; i++)
		if (tasks[i].gtid == gtid)
			return &tasks[i];
	return NULL;
}

static void take(u32 type, u32 barrier, const void *payload)
{
	const struct ghost_msg_new *new = payload;
	struct task *task;

	if (type == MSG_NOP || type > MSG_TASK_LATCH_FAILURE)
		return;
	task = find(type == MSG_TASK_NEW ? 0 : new->gtid);
	if (!task)
		return;
	task->barrier = barrier;
	if (type == MSG_TASK_NEW) {
		task->gtid = new->gtid;
		task->word = new->sw_index;
	} else if (type == MSG_TASK_DEAD || type == MSG_TASK_DEPARTED) {
		task->gtid = 0;
		call(SCX_OP_WORD_FREE, (s32)task->word, 0, 0);
	}
	if (type == MSG_TASK_NEW ? new->runnable != 0 :
				   type == MSG_TASK_WAKEUP || type == MSG_TASK_YIELD ||
					   type == MSG_TASK_PREEMPT || type == MSG_TASK_LATCH_FAILURE)
		push(task);
}

static void drain(struct ghost_queue *queue)
{
	const u32 head = __atomic_load_n(&queue->head, __ATOMIC_ACQUIRE);
	u32 tail = queue->tail;

	while (tail != head) {
		const u32 *words = &queue->slots[(tail & (RING_SLOTS - 1)) * 2];

		take(words[0] & 0xffff, words[1], &words[2]);
		tail += ((words[0] >> 16) + 7) / 8;
	}
	__atomic_store_n(&queue->tail, tail, __ATOMIC_RELEASE);
}

/* The first that waits, with what its transaction takes. */
static struct task *openTxn(struct ghost_txn *txn, u32 agent_barrier)
{
	while (fifo_head != fifo_tail) {
		struct task *task = &tasks[fifo[fifo_head++ % TASKS_MAX]];

		task->is_waiting = 0;
		if (!task->gtid)
			continue;
		txn->gtid = (s64)task->gtid;
		txn->task_barrier = task->barrier;
		txn->agent_barrier = agent_barrier;
		txn->run_flags = 0;
		txn->commit_flags = 0;
		__atomic_store_n(&txn->state, GHOST_TXN_READY, __ATOMIC_RELEASE);
		return task;
	}
	return NULL;
}

static void schedule(double agent, struct ghost_queue *queue, struct ghost_status_word *own,
		     struct ghost_txn *txn)
{
	int32_t result = 0, state;

	while (result == 0 || result == -ESTALE) {
		u32 barrier = __atomic_load_n(&own->barrier, __ATOMIC_ACQUIRE);
		struct task *task;

		drain(queue);
		task = openTxn(txn, barrier);
		result = task ? shim_scx_local_commit(agent) :
				shim_scx_local_yield(agent, (int32_t)barrier, 0);
		state = __atomic_load_n(&txn->state, __ATOMIC_ACQUIRE);
		if (task && state != GHOST_TXN_COMPLETE && state != GHOST_TXN_TARGET_NOT_RUNNABLE)
			push(task);
	}
}

int main(int argc, char **argv)
{
	struct ghost_sw_region *region;
	struct ghost_cpu_data *data;
	struct ghost_queue *queue;
	int cpu, id;
	double agent;
	cpu_set_t set;

	if (argc != 3)
		return 2;
	cpu = atoi(argv[2]);
	loadProgram(argv[1]);
	region = map(words_fd, 0, sizeof(*region));
	data = map(cpu_data_fd, 0, sizeof(*data) * MAX_CPUS);
	call(SCX_OP_ENCLAVE_CREATE, WORD_COUNT, getpid(), 0);
	call(SCX_OP_ENCLAVE_CPUS, 0, 0, 1ULL << cpu);
	id = call(SCX_OP_QUEUE_CREATE, RING_SLOTS, 0, 0);
	queue = map(queues_fd, sizeof(*queue) * (size_t)id, sizeof(*queue));
	call(SCX_OP_QUEUE_DEFAULT, id, 0, 0);
	call(SCX_OP_QUEUE_WAKEUP, id, 1, (u64)cpu);
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
	agent = shim_scx_become_agent((double[]){
		commit_fd, control_fd, doorbells_fd, 0, cpu, id, (double)(uintptr_t)region,
		(double)(uintptr_t)data,
		(double)(uintptr_t)map(turns_fd, 0, sizeof(struct scx_turn) * MAX_CPUS), 0 });
	if (agent < 0) {
		errno = (int)-agent;
		die("become_agent");
	}
	call(SCX_OP_ONLINE, 1, 0, 0);
	printf("ready\n");
	fflush(stdout);
	schedule(agent, queue, &region->words[shim_scx_agent_word(agent)], &data[cpu].txn);
	return 0;
}
