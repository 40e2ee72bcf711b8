#include "histogram.h"

#include <stdio.h>

// The first 128 slots are nanoseconds; from there on each doubling has 128 slots of its own.
static int slot(uint64_t value) {
    if (value < HISTOGRAM_STEPS) return (int)value;
    int shift = 63 - __builtin_clzll(value) - 7;
    int index = (shift + 1) * HISTOGRAM_STEPS + (int)((value >> shift) - HISTOGRAM_STEPS);
    return index < HISTOGRAM_SLOTS ? index : HISTOGRAM_SLOTS - 1;
}

static double value_of(int slot) {
    if (slot < HISTOGRAM_STEPS) return slot;
    int shift = slot / HISTOGRAM_STEPS - 1;
    return (double)((uint64_t)(slot % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift);
}

void histogram_add(struct Histogram *histogram, uint64_t nanoseconds) {
    histogram->counts[slot(nanoseconds)] += 1;
    histogram->total += 1;
    if (nanoseconds > histogram->largest) histogram->largest = nanoseconds;
}

double histogram_percentile(const struct Histogram *histogram, double share) {
    uint64_t wanted = (uint64_t)(share * (double)histogram->total), seen = 0;
    for (int index = 0; index < HISTOGRAM_SLOTS; index += 1) {
        seen += histogram->counts[index];
        if (seen > wanted) return value_of(index) / 1000;
    }
    return (double)histogram->largest / 1000;
}

void histogram_print(const struct Histogram *histogram, const char *name) {
    printf(
        "\"%s\": {\"count\": %lu, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, "
        "\"largest\": %.1f}",
        name, histogram->total, histogram_percentile(histogram, 0.5),
        histogram_percentile(histogram, 0.9), histogram_percentile(histogram, 0.99),
        histogram_percentile(histogram, 0.999), (double)histogram->largest / 1000);
}
