#include "cprices.h"

#pragma clang diagnostic ignored "-Wc23-extensions"
static const unsigned char prices[] = {
#embed "prices.json"
};

const unsigned char *cprices_json(void) { return prices; }

size_t cprices_json_length(void) { return sizeof prices; }
