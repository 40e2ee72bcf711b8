#define _GNU_SOURCE
#include "csys.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

int csys_accept(int listener, struct sockaddr *address, socklen_t *length) {
    return accept4(listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int csys_pin_to_processor(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

char **csys_environment(void) { return environ; }
