#include "wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 10 };

void fail(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(status); /* not exit(): other threads are still running */
}

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int dial_path(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        fail(EXIT_USAGE, "the path is too long: %s", path);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail(EXIT_LOAD, "cannot connect: %s", strerror(errno));
    return fd;
}

static int dial_port(const char *port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)atoi(port)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail(EXIT_LOAD, "cannot connect: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

int dial(const char *address) {
    int fd = strchr(address, '/') ? dial_path(address) : dial_port(address);
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

void send_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0)
            fail(EXIT_LOAD, "cannot send: %s", errno == EAGAIN ? "the server does not read" : strerror(errno));
        data += sent;
        size -= (size_t)sent;
    }
}

size_t receive(int fd, char *data, size_t size) {
    ssize_t got = recv(fd, data, size, 0);
    if (got < 0)
        fail(EXIT_LOAD, "no answer: %s", errno == EAGAIN ? "the server is too slow" : strerror(errno));
    return (size_t)got;
}

void expect(int fd, const char *expected, size_t size) {
    char answer[MESSAGE_SIZE];
    size_t got = 0;
    while (got < size) {
        size_t more = receive(fd, answer + got, size - got);
        if (more == 0)
            fail(EXIT_WRONG, "wrong reply: %zu bytes of %zu", got, size);
        got += more;
    }
    if (memcmp(answer, expected, size) != 0)
        fail(EXIT_WRONG, "wrong reply: %.*s for %.*s", (int)size, answer, (int)size, expected);
}

void make_message(unsigned client, unsigned long turn, char *message, char *expected) {
    unsigned long long number = (unsigned long long)client << 40 | turn;
    for (size_t index = 0; index < MESSAGE_SIZE - 1; index++) {
        /* Sixteen letters encode the number; the rest is the alphabet. */
        unsigned letter = index < 16 ? number >> 4 * index & 15 : index % 26;
        message[index] = (char)('a' + letter);
        expected[index] = (char)('A' + letter);
    }
    message[MESSAGE_SIZE - 1] = expected[MESSAGE_SIZE - 1] = '\n';
}
