/* fork PATH: a process for each connection, forked after accept(2). */
#include "upper.h"

#include <sys/wait.h>

static char block[BLOCK];

int main(int argc, char **argv) {
    int listener = listen_on(argc > 1 ? argv[1] : NULL);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (fd < 0)
            continue;
        pid_t pid = fork();
        if (pid == 0) {
            serve(fd, block);
            _exit(0);
        }
        close(fd);
    }
}
