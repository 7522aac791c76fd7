#include "kinds.h"
#include "wire.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { BLOCK = 256 * 1024 };

struct text {
    const char *data;
    size_t size;
};

struct sender {
    int fd;
    double end;
    struct text text;
    unsigned long times;
};

static struct text map_text(const char *path) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0 || status.st_size == 0)
        fail(EXIT_USAGE, "no text in %s", path);
    void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (data == MAP_FAILED)
        fail(EXIT_LOAD, "cannot map %s", path);
    close(fd);
    return (struct text){data, (size_t)status.st_size};
}

/* Sends whole texts only, so that the expected end of the answer is known. */
static void *send_texts(void *argument) {
    struct sender *sender = argument;
    do {
        send_all(sender->fd, sender->text.data, sender->text.size);
        sender->times++;
    } while (now() < sender->end);
    shutdown(sender->fd, SHUT_WR);
    return NULL;
}

/* Compares a block with the expected text from the offset on, wrapping around; returns the offset after the block. */
static size_t verify(struct text expected, size_t offset, const char *block, size_t size) {
    while (size > 0) {
        size_t part = expected.size - offset < size ? expected.size - offset : size;
        if (memcmp(block, expected.data + offset, part) != 0)
            fail(EXIT_WRONG, "wrong reply: the text differs within %zu bytes from offset %zu", part, offset);
        block += part;
        size -= part;
        offset = (offset + part) % expected.size;
    }
    return offset;
}

void load_bulk(int fd, double seconds, const char *text_path, const char *expected_path) {
    static char block[BLOCK];
    struct text expected = map_text(expected_path);
    struct sender sender = {.fd = fd, .end = now() + seconds, .text = map_text(text_path)};
    pthread_t thread;
    if (pthread_create(&thread, NULL, send_texts, &sender) != 0)
        fail(EXIT_LOAD, "cannot start a thread");
    /* The clock starts at the first answer, so that the start of a filter is not measured. */
    size_t got = receive(fd, block, sizeof block), total = got;
    size_t offset = verify(expected, 0, block, got);
    double begin = now();
    while ((got = receive(fd, block, sizeof block)) > 0) {
        offset = verify(expected, offset, block, got);
        total += got;
    }
    double elapsed = now() - begin;
    pthread_join(thread, NULL);
    if (total != sender.times * expected.size)
        fail(EXIT_WRONG, "wrong reply: %zu bytes of %zu", total, sender.times * expected.size);
    double sent = (double)sender.times * (double)sender.text.size;
    printf("bytes %.0f\nthroughput %.3f\n", sent, sent / elapsed / (1 << 20));
}

int run_filter(char **command) {
    int pair[2];
    struct timeval patience = {.tv_sec = 10};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        fail(EXIT_LOAD, "no socket pair");
    pid_t pid = fork();
    if (pid < 0)
        fail(EXIT_LOAD, "cannot fork");
    if (pid == 0) {
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        execvp(command[0], command);
        fail(EXIT_LOAD, "cannot run %s", command[0]);
    }
    close(pair[1]);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return pair[0];
}
