/*
 * The database of the rocksdb experiment: RocksDB by its C API, looked up at run time, so that
 * nothing needs the library but who runs this experiment.
 */
#ifndef GHOST_ROCKSDB_DATABASE_H
#define GHOST_ROCKSDB_DATABASE_H

#include <stddef.h>
#include <stdint.h>

struct exp_database;

/* "value" and 16 digits. */
#define EXP_VALUE_BYTES 21u

/* Reads one value: 1 found and right, 0 missing, -1 wrong. `into` has EXP_VALUE_BYTES. */
int exp_database_read(struct exp_database *database, uint32_t entry, char *into);
/*
 * Reads `count` values from `entry` on, with commas between them: 1, 0 if it runs past the end,
 * -1 wrong. `into` has count * (EXP_VALUE_BYTES + 1) bytes.
 */
int exp_database_scan(struct exp_database *database, uint32_t entry, uint32_t count, char *into);
uint32_t exp_database_entries(const struct exp_database *database);

#endif
