/*
 * The guard: a small static program that holds an agent process as its child, sees when it stalls
 * or dies, and acts. It maps nothing but the agent's board, a memfd sealed against shrinking.
 *
 * The layout of the board is that of util/guard/board.ts.
 */
#ifndef GHOST_GUARD_H
#define GHOST_GUARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BOARD_MAGIC 0x44524f42 /* "BORD" */
#define BOARD_BYTES 65536u     /* what stands before the agents' shared state */
#define BOARD_ALIVE_OFFSET 256 /* when the agent was last seen alive: the guard writes it */
#define BOARD_ACTIONS_OFFSET 512
#define BOARD_ACTIONS_BYTES 3584u

/* Words of the board. */
enum {
    WORD_MAGIC,
    WORD_PHASE,
    WORD_CPU_COUNT,
    WORD_ACTIVE_OFFSET, /* where the first CPU's "step under way" is, in bytes */
    WORD_COUNT_OFFSET,  /* where the first CPU's step counter is, in bytes */
    WORD_CPU_STRIDE,    /* from one CPU's word to the next one's, in bytes */
    WORD_BEAT,          /* counts how often the pending bits were renewed */
    WORD_IS_MADE,       /* the enclave was made for this agent */
    WORD_CPU_MASK = 16, /* 512 bits: the enclave's CPUs */
    WORD_PENDING = 32,  /* 512 bits: the queue of the n-th CPU holds messages that nobody takes */
};

enum { PHASE_STARTING, PHASE_ACTIVE, PHASE_LEAVING, PHASE_ENDED, PHASE_FAILED };

#define CPU_COUNT_MAX 512
#define END_TEXT_BYTES 256

/* What the agent's executable tells the guard: strings in a memfd, one after the other. */
struct guard_config {
    const char *name;     /* the program, for messages */
    int64_t watchdog_ns;  /* how long a busy agent may stand still */
    const char *on_crash; /* destroy, restart or leave */
    int exe_fd;           /* the executable */
    char **argv;          /* its arguments, argv[0] included; NULL at the end */
};

/* One agent process and what is known of it. */
struct agent {
    pid_t pid;
    int board_fd;
    const uint8_t *map; /* the board and the state behind it, read-only */
    uint64_t map_bytes;
    bool is_off_cpus; /* the guard has left the enclave's CPUs */
    bool is_stopped;
    int32_t seen_beat;
    int64_t beat_ns;    /* since the last beat */
    int64_t leaving_ns; /* since it began to leave */
    int64_t stopped_ns;
    int64_t busy_ns[CPU_COUNT_MAX];
    int32_t seen_count[CPU_COUNT_MAX];
};

/* guard_process.c */
struct guard_config read_config(int fd);
int make_board(void);
/* `end_text` is how the agent of the board ended, behind a colon, or "". */
pid_t spawn_agent(const struct guard_config *config, const char *mode, int board_fd, int old_fd,
                  const char *end_text);
/* Writes the board's texts to its files, in a process of its own; false if there are none. */
bool run_actions(const struct agent *agent);
/* False only if the enclave's first control file is known and has gone. */
bool has_enclave(const struct agent *agent);
/* The number of a CPU of the enclave by its place in the list, or -1. */
int cpu_at(const struct agent *agent, int place);
int64_t now_ns(void);

/* guard_watch.c */
int32_t board_word(const struct agent *agent, int word);
/* Maps what the agent has published since. */
void map_board(struct agent *agent);
void leave_cpus(struct agent *agent);
/*
 * Looks at the agent after `elapsed_ns`; the reason in `text` if it has stalled. An agent that has
 * nothing to do has not.
 */
bool has_stalled(struct agent *agent, int64_t elapsed_ns, int64_t watchdog_ns, char *text,
                 size_t text_bytes);

#endif
