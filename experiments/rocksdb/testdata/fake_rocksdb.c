/*
 * A stand-in for librocksdb in tests: the functions of its C API that the experiment uses, on a
 * sorted array in memory. A database is known by its path and outlives its close. Files in its
 * folder make it fail: LOCKED, BROKEN (until it is destroyed), FULL, WRONG (one entry's value).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define KEY_BYTES 19
#define VALUE_BYTES 21
#define DATABASES_MAX 256
#define WRONG_ENTRY "0000000000000007"

struct row {
    char key[KEY_BYTES], value[VALUE_BYTES];
};

struct database {
    char path[512];
    struct row *rows;
    size_t count, capacity;
};

struct batch {
    struct row rows[1000];
    size_t count;
};

struct iterator {
    const struct database *database;
    size_t place;
};

static struct database databases[DATABASES_MAX];

static int has_file(const char *path, const char *name)
{
    char file[600];
    snprintf(file, sizeof file, "%s/%s", path, name);
    return access(file, F_OK) == 0;
}

static struct database *named(const char *path)
{
    for (int i = 0; i < DATABASES_MAX; i++) {
        struct database *one = &databases[i];
        if (one->path[0] == 0)
            snprintf(one->path, sizeof one->path, "%s", path);
        if (strcmp(one->path, path) == 0)
            return one;
    }
    abort();
}

/* Options of all kinds are nothing. */
static char nothing;
#define MAKES(name) API void *rocksdb_##name(void) { return &nothing; }
#define ENDS(name) API void rocksdb_##name(void *it) { (void)it; }
#define SETS(name, type) API void rocksdb_##name(void *it, type value) { (void)it, (void)value; }
MAKES(options_create)
ENDS(options_destroy)
SETS(options_set_create_if_missing, unsigned char)
SETS(options_set_error_if_exists, unsigned char)
SETS(options_set_allow_mmap_reads, unsigned char)
SETS(options_set_allow_mmap_writes, unsigned char)
SETS(options_set_compression, int)
SETS(options_optimize_level_style_compaction, uint64_t)
SETS(options_set_block_based_table_factory, void *)
MAKES(block_based_options_create)
ENDS(block_based_options_destroy)
SETS(block_based_options_set_block_cache, void *)
API void *rocksdb_cache_create_lru(size_t bytes) { return bytes > 0 ? &nothing : NULL; }
ENDS(cache_destroy)
MAKES(writeoptions_create)
ENDS(writeoptions_destroy)
MAKES(readoptions_create)
ENDS(readoptions_destroy)
ENDS(close)
ENDS(pinnableslice_destroy)

API void rocksdb_free(void *it) { free(it); }

API void *rocksdb_open(const void *options, const char *path, char **error)
{
    (void)options;
    if (has_file(path, "LOCKED"))
        *error = strdup("IO error: While lock file: /LOCK: Resource temporarily unavailable");
    else if (has_file(path, "BROKEN"))
        *error = strdup("Corruption: no footer");
    else
        return named(path);
    return NULL;
}

API void rocksdb_destroy_db(const void *options, const char *path, char **error)
{
    char file[600];
    (void)options, (void)error;
    snprintf(file, sizeof file, "%s/BROKEN", path);
    unlink(file);
    named(path)->count = 0;
}

API void *rocksdb_writebatch_create(void) { return calloc(1, sizeof(struct batch)); }
API void rocksdb_writebatch_destroy(void *batch) { free(batch); }
API void rocksdb_writebatch_clear(struct batch *batch) { batch->count = 0; }

API void rocksdb_writebatch_put(struct batch *batch, const char *key, size_t key_bytes,
                                const char *value, size_t value_bytes)
{
    if (batch->count == 1000 || key_bytes != KEY_BYTES || value_bytes != VALUE_BYTES)
        abort();
    struct row *row = &batch->rows[batch->count++];
    memcpy(row->key, key, KEY_BYTES);
    memcpy(row->value, value, VALUE_BYTES);
}

API void rocksdb_write(struct database *database, const void *options, struct batch *batch,
                       char **error)
{
    (void)options;
    if (has_file(database->path, "FULL")) {
        *error = strdup("IO error: No space left on device");
        return;
    }
    const int is_wrong = has_file(database->path, "WRONG");
    for (size_t i = 0; i < batch->count; i++) {
        if (database->count == database->capacity) {
            database->capacity = database->capacity * 2 + 1000;
            database->rows = realloc(database->rows, database->capacity * sizeof(struct row));
        }
        struct row *row = &database->rows[database->count];
        /* Keys come in order; one that is there is written over. */
        if (database->count > 0 && memcmp(row[-1].key, batch->rows[i].key, KEY_BYTES) >= 0)
            database->count = 0, row = database->rows;
        *row = batch->rows[i];
        if (is_wrong && memcmp(row->key + 3, WRONG_ENTRY, 16) == 0)
            row->value[0] = 'V';
        database->count++;
    }
}

static size_t place_of(const struct database *database, const char *key)
{
    size_t low = 0, high = database->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (memcmp(database->rows[middle].key, key, KEY_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

API void *rocksdb_get_pinned(struct database *database, const void *options, const char *key,
                             size_t key_bytes, char **error)
{
    (void)options, (void)error;
    const size_t place = place_of(database, key);
    if (key_bytes != KEY_BYTES || place == database->count ||
        memcmp(database->rows[place].key, key, KEY_BYTES) != 0)
        return NULL;
    return &database->rows[place];
}

API const char *rocksdb_pinnableslice_value(const struct row *row, size_t *length)
{
    *length = VALUE_BYTES;
    return row->value;
}

API void *rocksdb_create_iterator(struct database *database, const void *options)
{
    (void)options;
    struct iterator *iterator = calloc(1, sizeof *iterator);
    iterator->database = database;
    return iterator;
}

API void rocksdb_iter_seek(struct iterator *iterator, const char *key, size_t key_bytes)
{
    (void)key_bytes;
    iterator->place = place_of(iterator->database, key);
}

API unsigned char rocksdb_iter_valid(const struct iterator *iterator)
{
    return iterator->place < iterator->database->count;
}

API void rocksdb_iter_next(struct iterator *iterator) { iterator->place++; }
API void rocksdb_iter_destroy(struct iterator *iterator) { free(iterator); }

API const char *rocksdb_iter_value(const struct iterator *iterator, size_t *length)
{
    return rocksdb_pinnableslice_value(&iterator->database->rows[iterator->place], length);
}
