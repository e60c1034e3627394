/*
 * What the guard sees of an agent: step counters and whether there is something to do.
 */
#define _GNU_SOURCE
#include "guard.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* What an agent may take to leave beyond the watchdog's time: it has its own limits before. */
#define LEAVE_NS 20000000000ll

static int32_t word_at(const struct agent *agent, uint64_t offset)
{
    if (offset + 4 > agent->map_bytes)
        return 0;
    return __atomic_load_n((const int32_t *)(agent->map + offset), __ATOMIC_ACQUIRE);
}

int32_t board_word(const struct agent *agent, int word)
{
    return word_at(agent, (uint64_t)word * 4);
}

static bool bit_at(const struct agent *agent, int first_word, int bit)
{
    return (board_word(agent, first_word + bit / 32) >> (bit % 32) & 1) != 0;
}

int cpu_at(const struct agent *agent, int place)
{
    for (int cpu = 0; cpu < CPU_COUNT_MAX; cpu++)
        if (bit_at(agent, WORD_CPU_MASK, cpu) && place-- == 0)
            return cpu;
    return -1;
}

/* The file cannot shrink, so that what is mapped stays there. */
void map_board(struct agent *agent)
{
    struct stat status;
    if (fstat(agent->board_fd, &status) < 0 || (uint64_t)status.st_size <= agent->map_bytes)
        return;
    void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, agent->board_fd, 0);
    if (map == MAP_FAILED)
        return;
    if (agent->map)
        munmap((void *)agent->map, agent->map_bytes);
    agent->map = map;
    agent->map_bytes = (uint64_t)status.st_size;
}

/* Off the enclave's CPUs, if others are left: what hangs there must not hold the guard up. */
void leave_cpus(struct agent *agent)
{
    cpu_set_t set;
    if (agent->is_off_cpus || board_word(agent, WORD_CPU_COUNT) == 0)
        return;
    agent->is_off_cpus = true;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return;
    for (int cpu = 0; cpu < CPU_COUNT_MAX; cpu++)
        if (bit_at(agent, WORD_CPU_MASK, cpu))
            CPU_CLR(cpu, &set);
    if (CPU_COUNT(&set) > 0)
        sched_setaffinity(0, sizeof set, &set);
}

/*
 * A pending bit counts once per beat of the agent's main isolate: while that is held up, the bits
 * are old and say nothing.
 */
static bool cpu_stalled(struct agent *agent, int place, int64_t elapsed_ns, int64_t since_beat_ns,
                        int64_t watchdog_ns)
{
    uint64_t at = (uint64_t)place * (uint32_t)board_word(agent, WORD_CPU_STRIDE);
    int32_t count = word_at(agent, at + (uint32_t)board_word(agent, WORD_COUNT_OFFSET));
    bool is_active = word_at(agent, at + (uint32_t)board_word(agent, WORD_ACTIVE_OFFSET)) != 0;
    int64_t *busy_ns = &agent->busy_ns[place];
    if (count != agent->seen_count[place])
        *busy_ns = 0;
    else if (is_active)
        *busy_ns += elapsed_ns;
    else if (since_beat_ns > 0)
        *busy_ns = bit_at(agent, WORD_PENDING, place) ? *busy_ns + since_beat_ns : 0;
    agent->seen_count[place] = count;
    return *busy_ns >= watchdog_ns;
}

bool has_stalled(struct agent *agent, int64_t elapsed_ns, int64_t watchdog_ns, char *text,
                 size_t text_bytes)
{
    int phase = board_word(agent, WORD_PHASE);
    if (phase == PHASE_STARTING)
        return false;
    if (phase != PHASE_ACTIVE) {
        agent->leaving_ns += elapsed_ns;
        snprintf(text, text_bytes, "the agents did not leave");
        return agent->leaving_ns >= watchdog_ns + LEAVE_NS;
    }
    if (agent->is_stopped) {
        agent->stopped_ns += elapsed_ns;
        snprintf(text, text_bytes, "the agent process is stopped (SIGSTOP)");
        return agent->stopped_ns >= watchdog_ns;
    }
    agent->stopped_ns = 0;
    int32_t beat = board_word(agent, WORD_BEAT);
    int64_t since_beat_ns = 0;
    agent->beat_ns += elapsed_ns;
    if (beat != agent->seen_beat) {
        since_beat_ns = agent->beat_ns;
        agent->beat_ns = 0;
        agent->seen_beat = beat;
    }
    int cpu_count = board_word(agent, WORD_CPU_COUNT);
    for (int place = 0; place < cpu_count && place < CPU_COUNT_MAX; place++) {
        if (!cpu_stalled(agent, place, elapsed_ns, since_beat_ns, watchdog_ns))
            continue;
        snprintf(text, text_bytes, "the agent of CPU %d stands still after %u steps",
                 cpu_at(agent, place), (uint32_t)agent->seen_count[place]);
        return true;
    }
    return false;
}
