/* What the C servers share: a listener on a path, and upper-casing of ASCII. They are upper bounds, not examples: no
 * UTF-8, no limits, no log, and every signal ends them. */
#ifndef UPPER_H
#define UPPER_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BLOCK = 64 * 1024, BACKLOG = 4096 };

static inline int listen_on(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof address.sun_path)
        exit(64);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

static inline void upper(char *data, size_t size) {
    /* Without a branch, so that the compiler can vectorize the loop. */
    for (size_t index = 0; index < size; index++)
        data[index] ^= (char)((unsigned char)(data[index] - 'a') < 26 ? 0x20 : 0);
}

/* Serves one connection to its end. */
static inline void serve(int fd, char *block) {
    ssize_t got;
    while ((got = read(fd, block, BLOCK)) > 0) {
        upper(block, (size_t)got);
        for (ssize_t sent = 0, more; sent < got; sent += more)
            if ((more = send(fd, block + sent, (size_t)(got - sent), MSG_NOSIGNAL)) < 0)
                return;
    }
}

#endif
