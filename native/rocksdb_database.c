/*
 * See rocksdb_database.h. Reference section 6.1, Database: a million entries, key "key" and value
 * "value" with the same 16 digits behind, no compression, memory-mapped files, a cache of 1 GiB.
 * (Upstream takes RocksDB's clock cache, which its C API does not offer; this is its LRU cache.)
 */
#define _GNU_SOURCE
#include "rocksdb_database.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

#define CACHE_BYTES ((size_t)1 << 30)
#define MEMTABLE_BYTES ((uint64_t)512 << 20)
#define BATCH_ENTRIES 1000u
#define KEY_BYTES 19u
#define NO_COMPRESSION 0

/* Every function that is used: result, name without "rocksdb_", parameters. */
#define ROCKSDB_API(F)                                                                             \
    F(void *, options_create, (void))                                                              \
    F(void, options_destroy, (void *))                                                             \
    F(void, options_set_create_if_missing, (void *, unsigned char))                                \
    F(void, options_set_error_if_exists, (void *, unsigned char))                                  \
    F(void, options_set_allow_mmap_reads, (void *, unsigned char))                                 \
    F(void, options_set_allow_mmap_writes, (void *, unsigned char))                                \
    F(void, options_set_compression, (void *, int))                                                \
    F(void, options_optimize_level_style_compaction, (void *, uint64_t))                           \
    F(void, options_set_block_based_table_factory, (void *, void *))                               \
    F(void *, block_based_options_create, (void))                                                  \
    F(void, block_based_options_destroy, (void *))                                                 \
    F(void, block_based_options_set_block_cache, (void *, void *))                                 \
    F(void *, cache_create_lru, (size_t))                                                          \
    F(void, cache_destroy, (void *))                                                               \
    F(void *, open, (const void *, const char *, char **))                                         \
    F(void, close, (void *))                                                                       \
    F(void, destroy_db, (const void *, const char *, char **))                                     \
    F(void *, writeoptions_create, (void))                                                         \
    F(void, writeoptions_destroy, (void *))                                                        \
    F(void *, readoptions_create, (void))                                                          \
    F(void, readoptions_destroy, (void *))                                                         \
    F(void *, writebatch_create, (void))                                                           \
    F(void, writebatch_clear, (void *))                                                            \
    F(void, writebatch_destroy, (void *))                                                          \
    F(void, writebatch_put, (void *, const char *, size_t, const char *, size_t))                  \
    F(void, write, (void *, const void *, void *, char **))                                        \
    F(void *, get_pinned, (void *, const void *, const char *, size_t, char **))                   \
    F(const char *, pinnableslice_value, (const void *, size_t *))                                 \
    F(void, pinnableslice_destroy, (void *))                                                       \
    F(void *, create_iterator, (void *, const void *))                                             \
    F(void, iter_seek, (void *, const char *, size_t))                                             \
    F(unsigned char, iter_valid, (const void *))                                                   \
    F(void, iter_next, (void *))                                                                   \
    F(const char *, iter_value, (const void *, size_t *))                                          \
    F(void, iter_destroy, (void *))                                                                \
    F(void, free, (void *))

static struct {
#define POINTER(result, name, parameters) result(*name) parameters;
    ROCKSDB_API(POINTER)
} rocksdb;

struct exp_database {
    void *db, *options, *table_options, *cache, *read_options, *write_options;
    uint32_t entry_count;
    _Atomic uint32_t done_count; /* entries written or read so far, for whoever shows progress */
};

static void keep_text(const char *text, char *into, uint32_t capacity)
{
    if (capacity > 0)
        snprintf(into, capacity, "%s", text == NULL ? "" : text);
}

/*
 * Loads a library of RocksDB: 0, -ENOENT if it cannot be loaded, -ENOSYS if a function is missing;
 * `text` then says what the loader said.
 */
SHIM_API int32_t exp_rocksdb_load(const char *path, char *text, uint32_t text_bytes)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        keep_text(dlerror(), text, text_bytes);
        return -ENOENT;
    }
#define LOOK_UP(result, name, parameters)                                                          \
    *(void **)&rocksdb.name = dlsym(library, "rocksdb_" #name);                                    \
    if (rocksdb.name == NULL) {                                                                    \
        keep_text("rocksdb_" #name " is missing", text, text_bytes);                               \
        dlclose(library);                                                                          \
        return -ENOSYS;                                                                            \
    }
    ROCKSDB_API(LOOK_UP)
    return 0;
}

/* "key" or "value" with the digits of an entry; no NUL. */
static void write_digits(char *into, const char *word, uint32_t entry)
{
    const size_t length = strlen(word);
    memcpy(into, word, length);
    for (int digit = 15; digit >= 0; digit--, entry /= 10)
        into[length + (size_t)digit] = (char)('0' + entry % 10);
}

static int is_value(const char *bytes, size_t length, uint32_t entry)
{
    char want[EXP_VALUE_BYTES];
    write_digits(want, "value", entry);
    return length == sizeof want && memcmp(bytes, want, sizeof want) == 0;
}

static void make_options(struct exp_database *database)
{
    void *options = database->options = rocksdb.options_create();
    database->table_options = rocksdb.block_based_options_create();
    database->cache = rocksdb.cache_create_lru(CACHE_BYTES);
    database->read_options = rocksdb.readoptions_create();
    database->write_options = rocksdb.writeoptions_create();
    rocksdb.block_based_options_set_block_cache(database->table_options, database->cache);
    rocksdb.options_set_create_if_missing(options, 1);
    rocksdb.options_set_error_if_exists(options, 0);
    rocksdb.options_set_allow_mmap_reads(options, 1);
    rocksdb.options_set_allow_mmap_writes(options, 1);
    rocksdb.options_set_compression(options, NO_COMPRESSION);
    rocksdb.options_optimize_level_style_compaction(options, MEMTABLE_BYTES);
    rocksdb.options_set_block_based_table_factory(options, database->table_options);
}

/* Closes and frees. */
SHIM_API void exp_database_close(double handle)
{
    struct exp_database *database = shim_pointer(handle);
    if (database->db != NULL)
        rocksdb.close(database->db);
    rocksdb.writeoptions_destroy(database->write_options);
    rocksdb.readoptions_destroy(database->read_options);
    rocksdb.options_destroy(database->options);
    rocksdb.block_based_options_destroy(database->table_options);
    rocksdb.cache_destroy(database->cache);
    free(database);
}

/*
 * Opens a database, or makes an empty one. `rebuild`: removes the database that is there first
 * (its own files only). Its handle, or -1 and RocksDB's words in `text`.
 */
SHIM_API double exp_database_open(const char *path, uint32_t entry_count, int32_t rebuild,
                                  char *text, uint32_t text_bytes)
{
    struct exp_database *database = calloc(1, sizeof *database);
    if (database == NULL)
        return -1;
    database->entry_count = entry_count;
    make_options(database);
    char *error = NULL;
    if (rebuild)
        rocksdb.destroy_db(database->options, path, &error);
    if (error == NULL)
        database->db = rocksdb.open(database->options, path, &error);
    if (error == NULL)
        return (double)(uintptr_t)database;
    keep_text(error, text, text_bytes);
    rocksdb.free(error);
    database->db = NULL;
    exp_database_close((double)(uintptr_t)database);
    return -1;
}

/* Entries that the fill or the warm-up under way has done. */
SHIM_API uint32_t exp_database_done(double handle)
{
    const struct exp_database *database = shim_pointer(handle);
    return atomic_load(&database->done_count);
}

uint32_t exp_database_entries(const struct exp_database *database)
{
    return database->entry_count;
}

int exp_database_read(struct exp_database *database, uint32_t entry, char *into)
{
    char key[KEY_BYTES];
    char *error = NULL;
    write_digits(key, "key", entry);
    void *slice = rocksdb.get_pinned(database->db, database->read_options, key, sizeof key, &error);
    if (error != NULL) {
        rocksdb.free(error);
        return -1;
    }
    if (slice == NULL)
        return 0;
    size_t length;
    const char *value = rocksdb.pinnableslice_value(slice, &length);
    const int result = is_value(value, length, entry) ? 1 : -1;
    if (result == 1)
        memcpy(into, value, length);
    rocksdb.pinnableslice_destroy(slice);
    return result;
}

int exp_database_scan(struct exp_database *database, uint32_t entry, uint32_t count, char *into)
{
    char key[KEY_BYTES];
    write_digits(key, "key", entry);
    void *iterator = rocksdb.create_iterator(database->db, database->read_options);
    rocksdb.iter_seek(iterator, key, sizeof key);
    int result = 1;
    for (uint32_t i = 0; i < count && result == 1; i++) {
        size_t length;
        const char *value;
        if (!rocksdb.iter_valid(iterator)) {
            result = 0;
        } else if (value = rocksdb.iter_value(iterator, &length),
                   !is_value(value, length, entry + i)) {
            result = -1;
        } else {
            memcpy(into, value, length);
            into[length] = ',';
            into += length + 1;
            rocksdb.iter_next(iterator);
        }
    }
    rocksdb.iter_destroy(iterator);
    return result;
}

/* Writes every entry: 0, or -EIO and RocksDB's words in `text`. */
SHIM_API int32_t exp_database_fill(double handle, char *text, uint32_t text_bytes)
{
    struct exp_database *database = shim_pointer(handle);
    void *batch = rocksdb.writebatch_create();
    char *error = NULL;
    atomic_store(&database->done_count, 0);
    for (uint32_t entry = 0; entry < database->entry_count && error == NULL;) {
        rocksdb.writebatch_clear(batch);
        for (uint32_t i = 0; i < BATCH_ENTRIES && entry < database->entry_count; i++, entry++) {
            char key[KEY_BYTES], value[EXP_VALUE_BYTES];
            write_digits(key, "key", entry);
            write_digits(value, "value", entry);
            rocksdb.writebatch_put(batch, key, sizeof key, value, sizeof value);
        }
        rocksdb.write(database->db, database->write_options, batch, &error);
        atomic_store(&database->done_count, entry);
    }
    rocksdb.writebatch_destroy(batch);
    if (error == NULL)
        return 0;
    keep_text(error, text, text_bytes);
    rocksdb.free(error);
    return -EIO;
}

/* Reads every entry, so that all are in memory. How many were there and right. */
SHIM_API uint32_t exp_database_warm(double handle)
{
    struct exp_database *database = shim_pointer(handle);
    char value[EXP_VALUE_BYTES];
    uint32_t right_count = 0;
    atomic_store(&database->done_count, 0);
    for (uint32_t entry = 0; entry < database->entry_count; entry++) {
        right_count += exp_database_read(database, entry, value) == 1;
        atomic_store_explicit(&database->done_count, entry + 1, memory_order_relaxed);
    }
    return right_count;
}

/* A value as bytes in `into`: its length, 0 if it is missing, -EIO if it is wrong. */
SHIM_API int32_t exp_database_get(double handle, uint32_t entry, char *into)
{
    const int result = exp_database_read(shim_pointer(handle), entry, into);
    return result < 0 ? -EIO : result * (int32_t)EXP_VALUE_BYTES;
}

/* Values with commas in `into`: the length, 0 if it runs past the end, -EIO if one is wrong. */
SHIM_API int32_t exp_database_range(double handle, uint32_t entry, uint32_t count, char *into)
{
    const int result = exp_database_scan(shim_pointer(handle), entry, count, into);
    return result < 0 ? -EIO : result * (int32_t)(count * (EXP_VALUE_BYTES + 1) - 1);
}
