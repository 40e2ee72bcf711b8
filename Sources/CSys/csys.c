#define _GNU_SOURCE
#include "csys.h"

#include <linux/filter.h>
#include <pthread.h>
#include <sched.h>
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

int csys_pin_to_processor(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

char **csys_environment(void) { return environ; }
