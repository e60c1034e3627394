// SPDX-License-Identifier: Apache-2.0
/*
 * Loads the scx program that it carries and attaches it, so that a host needs no clang and no
 * libbpf. It says on stdout under which descriptors the maps, programs and links are, waits until
 * its caller has taken copies of them (pidfd_getfd), that is: until its stdin ends, and exits. From
 * then on the caller holds the program: it is unloaded when the last copy of its links is closed.
 *
 *   fd NAME NUMBER    for each
 *   ready
 *
 * Fails with one line "error STEP: TEXT" on stderr, after what libbpf has to say, and status 1.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ghost_abi.h"

__asm__(".section .rodata\n"
	".balign 16\n"
	"scx_object:\n"
	".incbin \"" SCX_OBJECT "\"\n"
	"scx_object_end:\n"
	".previous\n");
extern const char scx_object[], scx_object_end[];

static int fail(const char *step, int error)
{
	fprintf(stderr, "error %s: %s\n", step, strerror(error < 0 ? -error : error));
	return 1;
}

static int say(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, format, args);
}

/* Sets a member of the ops, by the layout that the program was compiled with. */
static int setTimeout(struct bpf_object *object, struct bpf_map *ops, u32 timeout_ms)
{
	const struct btf *btf = bpf_object__btf(object);
	const struct btf_type *type;
	const struct btf_member *member;
	size_t bytes = 0;
	char *value = bpf_map__initial_value(ops, &bytes);
	int id = btf__find_by_name_kind(btf, "sched_ext_ops", BTF_KIND_STRUCT);

	if (!value || id < 0)
		return -ENOENT;
	type = btf__type_by_id(btf, id);
	member = btf_members(type);
	for (int i = 0; i < btf_vlen(type); i++) {
		if (strcmp(btf__name_by_offset(btf, member[i].name_off), "timeout_ms"))
			continue;
		memcpy(value + member[i].offset / 8, &timeout_ms, sizeof(timeout_ms));
		return 0;
	}
	return -ENOENT;
}

static void tell(const char *name, int fd)
{
	printf("fd %s %d\n", name, fd);
}

static int prepare(struct bpf_object *object, struct bpf_map *ops, u32 queue_count, u32 timeout_ms)
{
	static const char *const per_queue[] = { "queues", "queue_states" };

	for (size_t i = 0; i < sizeof(per_queue) / sizeof(per_queue[0]); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, per_queue[i]);

		if (map && bpf_map__set_max_entries(map, queue_count))
			return -EINVAL;
	}
	return setTimeout(object, ops, timeout_ms);
}

/* Programs at tracepoints; one that compares with ours has none. */
static const char *const TRACES[] = { "ghost_switch", "ghost_wakeup", "ghost_wakeup_new",
				      "ghost_migrate" };
#define TRACE_COUNT ((int)(sizeof(TRACES) / sizeof(TRACES[0])))

static int attachTraces(struct bpf_object *object, struct bpf_link **links)
{
	for (int i = 0; i < TRACE_COUNT; i++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(object, TRACES[i]);

		links[i] = program ? bpf_program__attach(program) : NULL;
		if (program && !links[i])
			return -errno;
	}
	return 0;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "ghost");
	struct bpf_link *links[TRACE_COUNT], *ops_link;
	struct bpf_program *program;
	struct bpf_object *object;
	struct bpf_map *map, *ops;
	int error, byte;

	if (argc != 3) {
		fprintf(stderr, "usage: scx_loader QUEUE_COUNT TIMEOUT_MS\n");
		return 2;
	}
	libbpf_set_print(say);
	object = bpf_object__open_mem(scx_object, scx_object_end - scx_object, &options);
	if (!object)
		return fail("open", errno);
	ops = bpf_object__find_map_by_name(object, "ghost_ops");
	if (!ops)
		return fail("find", ENOENT);
	error = prepare(object, ops, atoi(argv[1]), atoi(argv[2]));
	if (error)
		return fail("prepare", error);
	error = bpf_object__load(object);
	if (error)
		return fail("load", error);
	error = attachTraces(object, links);
	if (error)
		return fail("attach_switch", error);
	ops_link = bpf_map__attach_struct_ops(ops);
	if (!ops_link)
		return fail("attach", errno);
	bpf_object__for_each_map(map, object)
		tell(bpf_map__name(map), bpf_map__fd(map));
	bpf_object__for_each_program(program, object)
		if (bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL)
			tell(bpf_program__name(program), bpf_program__fd(program));
	tell("ops_link", bpf_link__fd(ops_link));
	for (int i = 0; i < TRACE_COUNT; i++)
		if (links[i])
			printf("fd %s_link %d\n", TRACES[i], bpf_link__fd(links[i]));
	printf("ready\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
