/* prefork PATH CHILDREN CONNECTIONS: CHILDREN processes accept; each is replaced after CONNECTIONS connections. */
#include "upper.h"

#include <sys/wait.h>

static char block[BLOCK];

static _Noreturn void live(int listener, long connections) {
    while (connections > 0) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        serve(fd, block);
        close(fd);
        connections--;
    }
    _exit(0);
}

int main(int argc, char **argv) {
    int listener = listen_on(argc > 1 ? argv[1] : NULL);
    long children = argc > 2 ? atol(argv[2]) : 8, connections = argc > 3 ? atol(argv[3]) : 1000;
    for (;;) {
        for (; children > 0; children--) {
            pid_t pid = fork();
            if (pid == 0)
                live(listener, connections);
            if (pid < 0)
                return 1;
        }
        if (wait(NULL) > 0)
            children++;
    }
}
