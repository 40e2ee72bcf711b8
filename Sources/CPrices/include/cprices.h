// The built-in price table (prices.json beside this target), compiled in so that one binary is enough.
#ifndef SLUICE_CPRICES_H
#define SLUICE_CPRICES_H

#include <stddef.h>

/// The first byte of the JSON text.
const unsigned char *cprices_json(void);

/// Its length in bytes.
size_t cprices_json_length(void);

#endif
