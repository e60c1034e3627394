/*
 * What the native peer (peer.h) tells the agents: messages in the exact layout of the ABI version,
 * a ring's slots, the barriers that go with them, and the wake-up.
 */
#include "peer.h"

#include <string.h>

#define RING_WORDS_BEFORE_MSGS 3
#define MESSAGE_WORDS_MAX 16
#define HEADER_WORDS 2

/* Bytes of a payload in this ABI version; -1 for a message it does not have. */
static int32_t payload_bytes(const struct peer *self, int32_t type)
{
    int32_t is_90 = self->abi >= 90, is_84 = self->abi >= 84;
    switch (type) {
    case MSG_TASK_DEAD:
        return is_90 ? 16 : 8;
    case MSG_TASK_BLOCKED:
    case MSG_TASK_WAKEUP:
    case MSG_TASK_SWITCHTO:
    case MSG_TASK_ON_CPU:
        return 32;
    case MSG_TASK_NEW:
        return is_90 ? 48 : is_84 ? 40 : 32;
    case MSG_TASK_PREEMPT:
    case MSG_TASK_YIELD:
        return 40;
    case MSG_TASK_DEPARTED:
    case MSG_CPU_TIMER_EXPIRED:
        return 24;
    case MSG_TASK_AFFINITY_CHANGED:
        return 8;
    case MSG_TASK_PRIORITY_CHANGED:
    case MSG_TASK_LATCH_FAILURE:
        return is_84 ? 16 : -1;
    case MSG_CPU_TICK:
        return is_90 ? 8 : 4;
    case MSG_CPU_NOT_IDLE:
        return 16;
    case MSG_CPU_AVAILABLE:
    case MSG_CPU_BUSY:
    case MSG_CPU_AGENT_BLOCKED:
    case MSG_CPU_AGENT_WAKEUP:
        return is_84 ? 4 : -1;
    default:
        return -1;
    }
}

int32_t peer_knows(const struct peer *self, int32_t type)
{
    return payload_bytes(self, type) >= 0;
}

/* Appends a message to a ring; a filler goes before one that would wrap. 0 if it does not fit. */
static int32_t append(struct peer_queue *queue, const int32_t *message, int32_t bytes)
{
    int32_t *ring = queue->words + queue->words[1] / 4;
    int32_t *slots = ring + RING_WORDS_BEFORE_MSGS;
    uint32_t head = (uint32_t)ring[0], mask = (uint32_t)queue->elem_count - 1;
    uint32_t tail = (uint32_t)__atomic_load_n(&ring[1], __ATOMIC_ACQUIRE);
    uint32_t count = (uint32_t)(bytes + 7) / 8, till_end = mask + 1 - (head & mask);
    uint32_t filler = till_end < count ? till_end : 0;
    if (head - tail + count + filler > mask + 1) {
        __atomic_store_n(&ring[2], ring[2] + 1, __ATOMIC_RELEASE);
        return 0;
    }
    if (filler > 0)
        slots[(head & mask) * 2] = MSG_NOP | (int32_t)(filler * 8) << 16;
    head += filler;
    memcpy(slots + (head & mask) * 2, message, (size_t)bytes);
    __atomic_store_n(&ring[0], (int32_t)(head + count), __ATOMIC_RELEASE);
    return 1;
}

/* Sends a message; the agent's barrier moves only after the message can be seen. */
static void produce(struct peer *self, int32_t queue_id, int32_t *message, int32_t preferred_cpu)
{
    int32_t type = message[0] & 0xffff, cpu;
    struct peer_queue *queue;
    if (queue_id < 0 || !self->queues[queue_id].open)
        return;
    queue = &self->queues[queue_id];
    self->message_counts[type]++;
    if (!append(queue, message, message[0] >> 16))
        self->counters[COUNT_OVERFLOWS]++;
    if (queue->wake_count == 0)
        return;
    cpu = queue->wake_cpus[queue->wake_count == 2 && queue->wake_cpus[1] == preferred_cpu];
    if (self->cpus[cpu].agent == AGENT_NONE)
        return;
    peer_bump(self, self->cpus[cpu].status_index);
    /* A chain of switchto goes on without the agent: the chain's last message wakes it. */
    if (type != MSG_TASK_SWITCHTO)
        peer_wake_agent(self, &self->cpus[cpu]);
}

static void put_u64(int32_t *words, double value)
{
    uint64_t whole = (uint64_t)value;
    memcpy(words, &whole, sizeof(whole));
}

/* Bytes from_switchto and was_latched or was_current, in one word. */
static int32_t two_flags(int32_t first, int32_t second)
{
    return (first != 0) | (second != 0) << 8;
}

static void fill_new(const struct peer *self, const struct peer_task *task, int32_t *payload,
                     int32_t runnable)
{
    int32_t at = self->abi >= 84 ? 4 : 2;
    put_u64(payload + at, task->runtime_ns);
    payload[at + 2] = runnable;
    if (self->abi >= 84)
        payload[at + 3] = task->nice;
    payload[at + 4 - (self->abi < 84)] = 0;
    payload[at + 5 - (self->abi < 84)] = task->status_index;
}

static void fill_task(const struct peer *self, struct peer_task *task, int32_t type,
                      int32_t *payload, int32_t extra)
{
    switch (type) {
    case MSG_TASK_NEW:
        return fill_new(self, task, payload, extra);
    case MSG_TASK_BLOCKED:
        put_u64(payload + 2, task->runtime_ns);
        payload[6] = task->cpu;
        payload[7] = two_flags(task->in_switchto, 0);
        return;
    case MSG_TASK_PREEMPT:
    case MSG_TASK_YIELD:
        put_u64(payload + 2, task->runtime_ns);
        payload[8] = task->cpu;
        payload[9] = two_flags(task->in_switchto, extra);
        return;
    case MSG_TASK_WAKEUP:
        payload[4] = extra;
        payload[5] = payload[6] = payload[7] = task->cpu;
        return;
    case MSG_TASK_DEPARTED:
        payload[4] = task->cpu;
        payload[5] = two_flags(task->in_switchto, extra);
        return;
    case MSG_TASK_SWITCHTO:
    case MSG_TASK_ON_CPU:
        put_u64(payload + 2, type == MSG_TASK_ON_CPU ? peer_now_ns() : task->runtime_ns);
        payload[6] = task->cpu;
        return;
    case MSG_TASK_DEAD:
    case MSG_TASK_PRIORITY_CHANGED:
    case MSG_TASK_LATCH_FAILURE:
        payload[2] = extra;
        return;
    default:
        return;
    }
}

/*
 * A message about a task. `extra` is what the type needs: runnable (NEW), deferrable (WAKEUP),
 * was_latched (PREEMPT), was_current (DEPARTED), CPU (DEAD), nice, errno.
 */
void peer_send_task(struct peer *self, struct peer_task *task, int32_t type, int32_t extra)
{
    int32_t message[MESSAGE_WORDS_MAX] = {0};
    int32_t bytes = payload_bytes(self, type);
    uint32_t barrier;
    if (bytes < 0)
        return;
    barrier = peer_bump(self, task->status_index);
    if (task->gated)
        return;
    message[0] = type | (bytes + HEADER_WORDS * 4) << 16;
    message[1] = (int32_t)barrier;
    memcpy(message + HEADER_WORDS, &task->gtid, sizeof(task->gtid));
    /* The fillers write what the type has; TASK_DEAD has no CPU before version 90. */
    if (type != MSG_TASK_DEAD || self->abi >= 90)
        fill_task(self, task, type, message + HEADER_WORDS, extra);
    produce(self, task->queue, message, task->cpu);
}

/* A message about a CPU, to its agent's queue. */
void peer_send_cpu(struct peer *self, struct peer_cpu *cpu, int32_t type)
{
    int32_t message[MESSAGE_WORDS_MAX] = {0};
    int32_t bytes = payload_bytes(self, type);
    if (bytes < 0 || cpu->agent == AGENT_NONE)
        return;
    message[0] = type | (bytes + HEADER_WORDS * 4) << 16;
    message[1] = (int32_t)peer_bump(self, cpu->status_index);
    message[HEADER_WORDS] = cpu->id;
    if (type == MSG_CPU_TICK && self->abi >= 90)
        message[HEADER_WORDS + 1] = cpu->mode == MODE_AGENT;
    if (type == MSG_CPU_TIMER_EXPIRED) {
        message[HEADER_WORDS + 2] = cpu->timer_type;
        message[HEADER_WORDS + 4] = cpu->timer_cookie;
    }
    produce(self, cpu->queue, message, cpu->id);
}
