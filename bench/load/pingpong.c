#include "kinds.h"
#include "samples.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void load_pingpong(const char *address, double seconds) {
    char message[MESSAGE_SIZE], expected[MESSAGE_SIZE];
    struct samples samples = {0};
    int fd = dial(address);
    /* The first answer is not measured: it includes starting a child. */
    make_message(0, 0, message, expected);
    send_all(fd, message, sizeof message);
    expect(fd, expected, sizeof expected);
    double begin = now(), end = begin + seconds, last = begin;
    for (unsigned long turn = 1; last < end; turn++) {
        make_message(0, turn, message, expected);
        double sent = now();
        send_all(fd, message, sizeof message);
        expect(fd, expected, sizeof expected);
        last = now();
        add_sample(&samples, last - sent);
    }
    close(fd);
    printf("count %zu\nrate %.2f\n", samples.count, (double)samples.count / (last - begin));
    print_samples(&samples);
    free(samples.seconds);
}
