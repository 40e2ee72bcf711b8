// What the mock upstream and the load generator share.
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Nanoseconds of a clock that never steps.
uint64_t now(void);

// Lets this process open as many descriptors as it may, and write to closed sockets.
void prepare_process(void);

// Ends the program with a message when something went wrong that no measurement survives.
_Noreturn void fail(const char *what);

// Bytes that grow at the end and are taken from the front.
struct Buffer {
    char *bytes;
    size_t start, end, capacity;
};

static inline size_t buffer_count(const struct Buffer *buffer) {
    return buffer->end - buffer->start;
}
// Makes room for `count` more bytes and returns where they belong.
char *buffer_reserve(struct Buffer *buffer, size_t count);
void buffer_append(struct Buffer *buffer, const void *bytes, size_t count);
void buffer_text(struct Buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_drop(struct Buffer *buffer, size_t count);
void buffer_free(struct Buffer *buffer);

// What to be told by epoll: input always, room for output when wanted.
void watch(int epoll, int descriptor, void *owner, bool wants_output, bool is_new);
// Waits until something happens or a moment comes; UINT64_MAX: no moment.
int wait_until(int epoll, void *events, int count, uint64_t moment);

// The value of `--name VALUE`; ends the program when there is none.
const char *option_value(int *index, int count, char **arguments);

#endif
