/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the scx program uses of the kernel: parts of its types, found by name through BTF, and its
 * functions. Source: BTF of Linux 7.3.4; a member that is not used is not named.
 */
#ifndef SCX_KERNEL_H
#define SCX_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef int s32;
typedef long long s64;
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u32 __wsum;

enum { false = 0, true = 1 };
#define bool _Bool

enum bpf_map_type_used {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_QUEUE = 22,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum bpf_map_flags_used {
	BPF_F_NO_PREALLOC = 1U << 0,
	BPF_F_MMAPABLE = 1U << 10,
};
#define BPF_LOCAL_STORAGE_GET_F_CREATE 1ULL
#define BPF_RB_FORCE_WAKEUP 2ULL
#define BPF_F_TIMER_ABS 1ULL
#define CLOCK_MONOTONIC 1

struct bpf_spin_lock {
	u32 val;
};
struct bpf_timer {
	u64 opaque[2];
} __attribute__((aligned(8)));

#define KERNEL_TYPE __attribute__((preserve_access_index))

struct cpumask {
	unsigned long bits[1];
} KERNEL_TYPE;

struct sched_entity {
	u64 sum_exec_runtime;
} KERNEL_TYPE;

typedef struct {
	unsigned long sig[1];
} KERNEL_TYPE sigset_t;

struct sigpending {
	sigset_t signal;
} KERNEL_TYPE;

struct task_struct {
	unsigned int __state;
	unsigned int flags;
	unsigned char on_cpu;
	unsigned char on_rq;
	int static_prio;
	int prio;
	unsigned int policy;
	int exit_state;
	struct sched_entity se;
	const struct cpumask *cpus_ptr;
	int pid;
	u64 start_boottime;
	struct sigpending pending;
	struct task_struct *real_parent;
} KERNEL_TYPE;

struct cfs_rq {
	unsigned int h_nr_runnable;
} KERNEL_TYPE;

struct rq {
	struct cfs_rq cfs;
} KERNEL_TYPE;

#define KERNEL_SYMBOL __attribute__((section(".ksyms")))

extern const struct rq runqueues KERNEL_SYMBOL;

struct scx_exit_task_args {
	bool cancelled;
} KERNEL_TYPE;

struct scx_init_task_args {
	bool fork;
} KERNEL_TYPE;

enum scx_exit_kind {
	SCX_EXIT_NONE,
};

struct scx_exit_info {
	enum scx_exit_kind kind;
	s64 exit_code;
	const char *reason;
	const char *msg;
	char *dump;
} KERNEL_TYPE;

/* libbpf matches the members that are here with the kernel's by name. */
struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dequeue)(struct task_struct *p, u64 deq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*quiescent)(struct task_struct *p, u64 deq_flags);
	bool (*yield)(struct task_struct *from, struct task_struct *to);
	void (*set_weight)(struct task_struct *p, u32 weight);
	void (*set_cpumask)(struct task_struct *p, const struct cpumask *cpumask);
	s32 (*init_task)(struct task_struct *p, struct scx_init_task_args *args);
	void (*exit_task)(struct task_struct *p, struct scx_exit_task_args *args);
	void (*enable)(struct task_struct *p);
	void (*disable)(struct task_struct *p);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

enum { EPERM_ = 1, ENOENT_ = 2, ESRCH_ = 3, ENXIO_ = 6, EBADF_ = 9, ENOMEM_ = 12, EBUSY_ = 16,
       EXDEV_ = 18, ENODEV_ = 19, EINVAL_ = 22, ENOSPC_ = 28, ESTALE_ = 116 };

#define SCX_OPS_ENQ_LAST (1ULL << 1)
#define SCX_OPS_SWITCH_PARTIAL (1ULL << 3)
#define SCX_DEQ_SLEEP 1ULL
#define SCX_KICK_PREEMPT 2ULL
#define SCX_DSQ_GLOBAL ((1ULL << 63) | 1ULL)
#define SCX_DSQ_LOCAL ((1ULL << 63) | 2ULL)
#define SCX_DSQ_LOCAL_ON ((1ULL << 63) | (1ULL << 62)) /* and the CPU */
#define SCX_SLICE_DFL 20000000ULL
#define SCX_SLICE_INF (~0ULL)
#define TASK_DEAD 0x80U
#define TASK_NEW 0x800U
#define PF_EXITING 0x4U
#define SCHED_EXT 7
#define MAX_RT_PRIO 100

extern struct task_struct *bpf_task_from_pid(s32 pid) __attribute__((section(".ksyms")));
extern void bpf_task_release(struct task_struct *p) __attribute__((section(".ksyms")));
extern bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *mask)
	__attribute__((section(".ksyms")));
extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));
extern void bpf_rcu_read_unlock(void) __attribute__((section(".ksyms")));
extern void scx_bpf_error_bstr(char *format, unsigned long long *data, u32 data__sz)
	__attribute__((section(".ksyms")));
extern s32 scx_bpf_task_cpu(const struct task_struct *p) __attribute__((section(".ksyms")));
extern void scx_bpf_kick_cpu(s32 cpu, u64 flags) __attribute__((section(".ksyms")));
extern bool scx_bpf_task_set_slice(struct task_struct *p, u64 slice)
	__attribute__((section(".ksyms")));
extern s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) __attribute__((section(".ksyms")));
/* libbpf drops what follows the last "___". */
extern bool scx_bpf_dsq_insert___v2___x(struct task_struct *p, u64 dsq_id, u64 slice,
					u64 enq_flags) __attribute__((section(".ksyms")));

extern bool scx_bpf_dsq_move_to_local___v2___x(u64 dsq_id, u64 enq_flags)
	__attribute__((section(".ksyms")));

#endif
