/* A client in C, on poll(2): `relay copy|talk PATH`. */

#define _GNU_SOURCE
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void write_all(int fd, const char *data, ssize_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0)
            err(1, "write");
        data += done;
        size -= done;
    }
}

/* Standard input to the daemon, and meanwhile the answer to standard output. */
static void copy(int fd)
{
    static char text[65536], answer[65536];
    ssize_t at = 0, size = 0, done;
    int is_open = 1;
    for (;;) {
        if (is_open && at == size) {
            size = read(0, text, sizeof text);
            at = 0;
            if (size <= 0) {
                size = is_open = 0;
                shutdown(fd, SHUT_WR);
            }
        }
        struct pollfd wanted = {fd, POLLIN | (at < size ? POLLOUT : 0), 0};
        if (poll(&wanted, 1, -1) < 0)
            err(1, "poll");
        if (wanted.revents & POLLOUT && (done = send(fd, text + at, size - at, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
            at += done;
        if (wanted.revents & (POLLIN | POLLHUP)) {
            if ((done = recv(fd, answer, sizeof answer, 0)) < 0)
                err(1, "recv");
            if (done == 0)
                return;
            write_all(1, answer, done);
        }
    }
}

/* A line, its answer, the next line. */
static void talk(int fd)
{
    FILE *answers = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    while ((size = getline(&line, &room, stdin)) > 0) {
        write_all(fd, line, size);
        if ((size = getline(&line, &room, answers)) < 0)
            errx(1, "the answer ended early");
        write_all(1, line, size);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc != 3 || strlen(argv[2]) >= sizeof address.sun_path)
        errx(2, "usage: relay copy|talk PATH");
    strcpy(address.sun_path, argv[2]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "%s", argv[2]);
    (strcmp(argv[1], "copy") == 0 ? copy : talk)(fd);
    return 0;
}
