#define _GNU_SOURCE
#include "csys.h"

#include <linux/filter.h>
#include <unistd.h>

int csys_accept(int listener, struct sockaddr *address, socklen_t *length) {
    return accept4(listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int csys_steer_connections(int listener, unsigned position) {
    struct sock_filter steer[] = {BPF_STMT(BPF_RET | BPF_K, position)};
    struct sock_fprog program = {.len = 1, .filter = steer};
    return setsockopt(
        listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
}

char **csys_environment(void) { return environ; }
