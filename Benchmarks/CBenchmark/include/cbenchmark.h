// What a benchmark must know of its own process: calls of the allocator, and marks for callgrind.
#ifndef CBENCHMARK_H
#define CBENCHMARK_H

#include <stdbool.h>
#include <stdint.h>

// How often memory was asked for since the program began, by all its code.
uint64_t allocation_count(void);

// Whether valgrind runs us; false as well where its headers were missing when this was built.
bool is_instrumented(void);

// Between these two, callgrind counts instructions; the figures go out under a name.
void instrumentation_begin(void);
void instrumentation_end(const char *name);

#endif
