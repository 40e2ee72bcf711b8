// How long things took, to within one percent.
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 128, HISTOGRAM_SLOTS = 60 * HISTOGRAM_STEPS };

struct Histogram {
    uint64_t counts[HISTOGRAM_SLOTS], total, largest;
};

void histogram_add(struct Histogram *histogram, uint64_t nanoseconds);
// Microseconds that the given share of all stays below.
double histogram_percentile(const struct Histogram *histogram, double share);
// Prints `"name": {…}`.
void histogram_print(const struct Histogram *histogram, const char *name);

#endif
