#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void prepare_process(void) {
    signal(SIGPIPE, SIG_IGN);
    // Timers of the kernel are 50 microseconds late unless asked to be better.
    prctl(PR_SET_TIMERSLACK, 1000);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

void fail(const char *what) {
    fprintf(stderr, "BenchLoad: %s: %s\n", what, strerror(errno));
    exit(1);
}

char *buffer_reserve(struct Buffer *buffer, size_t count) {
    if (buffer->start > 0) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, buffer_count(buffer));
        buffer->end -= buffer->start;
        buffer->start = 0;
    }
    if (buffer->capacity - buffer->end < count) {
        while (buffer->capacity - buffer->end < count) {
            buffer->capacity = buffer->capacity ? buffer->capacity * 2 : 4096;
        }
        buffer->bytes = realloc(buffer->bytes, buffer->capacity);
        if (!buffer->bytes) fail("memory");
    }
    return buffer->bytes + buffer->end;
}

void buffer_append(struct Buffer *buffer, const void *bytes, size_t count) {
    memcpy(buffer_reserve(buffer, count), bytes, count);
    buffer->end += count;
}

void buffer_text(struct Buffer *buffer, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    vsnprintf(buffer_reserve(buffer, (size_t)length + 1), (size_t)length + 1, format, again);
    buffer->end += (size_t)length;
    va_end(again);
    va_end(arguments);
}

void buffer_drop(struct Buffer *buffer, size_t count) {
    buffer->start += count;
    if (buffer->start == buffer->end) buffer->start = buffer->end = 0;
}

void buffer_free(struct Buffer *buffer) {
    free(buffer->bytes);
    *buffer = (struct Buffer){0};
}

void watch(int epoll, int descriptor, void *owner, bool wants_output, bool is_new) {
    struct epoll_event event = {
        .events = EPOLLIN | (wants_output ? EPOLLOUT : 0), .data.ptr = owner};
    if (epoll_ctl(epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, descriptor, &event)) {
        fail("epoll_ctl");
    }
}

int wait_until(int epoll, void *events, int count, uint64_t moment) {
    struct timespec duration = {0}, *limit = NULL;
    if (moment != UINT64_MAX) {
        uint64_t time = now(), left = moment > time ? moment - time : 0;
        duration.tv_sec = (time_t)(left / 1000000000u);
        duration.tv_nsec = (long)(left % 1000000000u);
        limit = &duration;
    }
    int ready = epoll_pwait2(epoll, events, count, limit, NULL);
    if (ready < 0 && errno != EINTR) fail("epoll_pwait2");
    return ready < 0 ? 0 : ready;
}

const char *option_value(int *index, int count, char **arguments) {
    if (*index + 1 >= count) {
        fprintf(stderr, "BenchLoad: %s wants a value\n", arguments[*index]);
        exit(2);
    }
    *index += 1;
    return arguments[*index];
}
