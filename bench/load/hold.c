#include "kinds.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

void load_hold(const char *address, unsigned count) {
    char message[MESSAGE_SIZE], expected[MESSAGE_SIZE];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (unsigned index = 0; index < count; index++) {
        make_message(index, 0, message, expected);
        int fd = dial(address);
        send_all(fd, message, sizeof message);
        expect(fd, expected, sizeof expected);
    }
    printf("held %u\n", count);
    fflush(stdout);
    while (read(0, message, sizeof message) > 0)
        ;
}
