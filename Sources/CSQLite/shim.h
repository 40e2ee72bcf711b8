#include <sqlite3.h>

/// A virtual table that knows what it reads from (https://www.sqlite.org/vtab.html).
typedef struct {
    sqlite3_vtab base;
    void *source;
} sluice_table;
