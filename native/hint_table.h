/*
 * An application's side of the PrioTable in C (reference section 5.2): a thread of a load says
 * that it has work or none. shared/prio_table.ts makes the table; this only writes rows of it.
 */
#ifndef GHOST_HINT_TABLE_H
#define GHOST_HINT_TABLE_H

#include <stdatomic.h>
#include <stdint.h>

#define HINT_RUNNABLE 1u
/* Cells that are tried after the first before the agent must look at every row. */
#define HINT_RETRIES 3

struct hint_header {
    uint16_t version, header_bytes;
    uint32_t table_bytes, item_count, items_at, class_count, classes_at, cell_count, stream_at;
};

struct hint_item {
    uint32_t sid, wcid;
    uint64_t gtid;
    _Atomic uint32_t flags;
    _Atomic uint32_t seqcount; /* odd while a writer is at work */
    uint64_t deadline_ns;
    uint64_t unused[4];
};

struct hint_stream {
    _Atomic int32_t scrape_all; /* more than 0: look at every row */
    _Atomic int32_t cells[]; /* an index, or -1 */
};

static inline struct hint_item *hint_item(void *table, uint32_t sid)
{
    const struct hint_header *header = table;
    return (struct hint_item *)((char *)table + header->items_at) + sid;
}

static inline uint32_t hint_write_begin(struct hint_item *item)
{
    for (;;) {
        uint32_t even = atomic_load_explicit(&item->seqcount, memory_order_relaxed) & ~1u;
        if (atomic_compare_exchange_weak_explicit(&item->seqcount, &even, even + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return even + 1;
    }
}

static inline void hint_write_end(struct hint_item *item, uint32_t begin)
{
    atomic_store_explicit(&item->seqcount, begin + 1, memory_order_release);
}

/* Tells the agent which row has changed. */
static inline void hint_mark_updated(void *table, uint32_t sid)
{
    const struct hint_header *header = table;
    struct hint_stream *stream = (struct hint_stream *)((char *)table + header->stream_at);
    if (atomic_load_explicit(&stream->scrape_all, memory_order_relaxed) <= 0) {
        for (uint32_t i = 0; i <= HINT_RETRIES; i++) {
            int32_t free_cell = -1;
            if (atomic_compare_exchange_strong_explicit(
                    &stream->cells[(sid + i) % header->cell_count], &free_cell, (int32_t)sid,
                    memory_order_release, memory_order_relaxed))
                return;
        }
    }
    atomic_fetch_add_explicit(&stream->scrape_all, 1, memory_order_release);
}

static inline int hint_is_idle(void *table, uint32_t sid)
{
    return (atomic_load_explicit(&hint_item(table, sid)->flags, memory_order_acquire) &
            HINT_RUNNABLE) == 0;
}

static inline void hint_set(void *table, uint32_t sid, uint32_t flags)
{
    struct hint_item *item = hint_item(table, sid);
    const uint32_t begin = hint_write_begin(item);
    const uint32_t others = atomic_load_explicit(&item->flags, memory_order_relaxed) &
                            ~HINT_RUNNABLE;
    atomic_store_explicit(&item->flags, others | flags, memory_order_release);
    hint_write_end(item, begin);
    hint_mark_updated(table, sid);
}

static inline void hint_mark_idle(void *table, uint32_t sid)
{
    hint_set(table, sid, 0);
}

static inline void hint_mark_runnable(void *table, uint32_t sid)
{
    hint_set(table, sid, HINT_RUNNABLE);
}

/* Runnable, with a deadline. */
static inline void hint_assign(void *table, uint32_t sid, uint64_t deadline_ns)
{
    struct hint_item *item = hint_item(table, sid);
    const uint32_t begin = hint_write_begin(item);
    item->deadline_ns = deadline_ns;
    const uint32_t flags = atomic_load_explicit(&item->flags, memory_order_relaxed);
    atomic_store_explicit(&item->flags, flags | HINT_RUNNABLE, memory_order_release);
    hint_write_end(item, begin);
    hint_mark_updated(table, sid);
}

#endif
