#include "samples.h"

#include "wire.h"

#include <stdio.h>
#include <stdlib.h>

void add_sample(struct samples *samples, double seconds) {
    if (samples->count == samples->room) {
        samples->room = samples->room ? 2 * samples->room : 4096;
        samples->seconds = realloc(samples->seconds, samples->room * sizeof *samples->seconds);
        if (!samples->seconds)
            fail(EXIT_LOAD, "out of memory");
    }
    samples->seconds[samples->count++] = (float)seconds;
}

void add_samples(struct samples *samples, const struct samples *more) {
    for (size_t index = 0; index < more->count; index++)
        add_sample(samples, (double)more->seconds[index]);
}

static int compare(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

void print_samples(struct samples *samples) {
    if (samples->count == 0)
        return;
    qsort(samples->seconds, samples->count, sizeof *samples->seconds, compare);
    printf("p50 %.2f\n", 1e6 * (double)samples->seconds[samples->count / 2]);
    printf("p99 %.2f\n", 1e6 * (double)samples->seconds[samples->count * 99 / 100]);
}
