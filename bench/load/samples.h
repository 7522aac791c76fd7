/* Collects durations, and prints their median and 99th percentile. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stddef.h>

struct samples {
    float *seconds;
    size_t count, room;
};

void add_sample(struct samples *samples, double seconds);
void add_samples(struct samples *samples, const struct samples *more);

/* Prints the lines "p50 MICROSECONDS" and "p99 MICROSECONDS". Sorts the samples. */
void print_samples(struct samples *samples);

#endif
