// BenchLoad mock --port N [--chunks N] [--gap-us N] [--first-us N]
//
// An upstream that is never the bottleneck: OpenAI's chat and embeddings, Bedrock's Converse. One
// thread. Streams send their events one at a time, `gap-us` apart; 0: one in every turn.
//   GET /stats                         what was asked so far
//   GET /set?chunks=N&gap-us=N         changes an option from now on
#define _GNU_SOURCE
#include "replies.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, STEP = 64 << 10 };

struct Connection {
    int descriptor;
    bool wants_output, is_lost, is_queued;
    struct Buffer input, output;
    // A stream that is being sent: its pieces, how many events are left, when the next is due.
    const struct StreamReply *stream;
    bool has_begun, wants_usage;
    long events_left;
    uint64_t due;
    struct Connection *previous, *next;
};

// Streams in the order in which they are due: all wait equally long.
struct Queue {
    struct Connection head;
};

static struct {
    long chunks, gap, first_delay;
} options = {.chunks = 200};
static struct {
    unsigned long chat, stream, converse, converse_stream, embeddings, other, chunks, accepted;
    long open, streaming;
} stats;
static struct Replies replies;
static struct Queue beginning, running;
static int epoll;

// MARK: - Queues

static void queue_init(struct Queue *queue) {
    queue->head.previous = queue->head.next = &queue->head;
}

static void enqueue(struct Queue *queue, struct Connection *connection) {
    connection->previous = queue->head.previous;
    connection->next = &queue->head;
    connection->previous->next = connection->next->previous = connection;
    connection->is_queued = true;
}

static void dequeue(struct Connection *connection) {
    if (!connection->is_queued) return;
    connection->previous->next = connection->next;
    connection->next->previous = connection->previous;
    connection->is_queued = false;
}

static struct Connection *first(struct Queue *queue) {
    return queue->head.next == &queue->head ? NULL : queue->head.next;
}

// MARK: - Sending

static void send_bytes(struct Connection *connection, const char *bytes, size_t count) {
    if (buffer_count(&connection->output) == 0) {
        ssize_t sent = send(connection->descriptor, bytes, count, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            connection->is_lost = true;
            return;
        }
        if (sent > 0) {
            bytes += sent;
            count -= (size_t)sent;
        }
    }
    if (count == 0) return;
    buffer_append(&connection->output, bytes, count);
    if (!connection->wants_output) {
        connection->wants_output = true;
        watch(epoll, connection->descriptor, connection, true, false);
    }
}

static void send_reply(struct Connection *connection, const struct Buffer *reply) {
    send_bytes(connection, reply->bytes + reply->start, buffer_count(reply));
}

static void schedule(struct Connection *connection) {
    // A client that does not read gets nothing more until it does.
    if (connection->stream && !connection->is_queued && !connection->wants_output) {
        enqueue(connection->has_begun ? &running : &beginning, connection);
    }
}

// MARK: - Requests

static bool holds(const char *bytes, size_t count, const char *text) {
    return memmem(bytes, count, text, strlen(text)) != NULL;
}

// Whether a flag is set; clients put them at either end of a body.
static bool has_flag(const char *body, size_t count, const char *flag) {
    size_t edge = count < 4096 ? count : 4096;
    return holds(body, edge, flag) || holds(body + count - edge, edge, flag);
}

static void begin_stream(struct Connection *connection, const struct StreamReply *stream) {
    connection->stream = stream;
    connection->has_begun = false;
    connection->events_left = options.chunks;
    connection->due = now() + (uint64_t)options.first_delay;
    stats.streaming += 1;
    schedule(connection);
}

static void set_option(const char *target, size_t count, const char *name, long scale, long *into) {
    const char *found = memmem(target, count, name, strlen(name));
    if (found) *into = scale * atol(found + strlen(name));
}

static void answer_control(struct Connection *connection, const char *target, size_t count) {
    set_option(target, count, "chunks=", 1, &options.chunks);
    set_option(target, count, "gap-us=", 1000, &options.gap);
    set_option(target, count, "first-us=", 1000, &options.first_delay);
    struct Buffer body = {0}, reply = {0};
    buffer_text(
        &body,
        "{\"chat\":%lu,\"stream\":%lu,\"converse\":%lu,\"converse_stream\":%lu,"
        "\"embeddings\":%lu,\"other\":%lu,\"chunks\":%lu,\"accepted\":%lu,\"open\":%ld,"
        "\"streaming\":%ld}",
        stats.chat, stats.stream, stats.converse, stats.converse_stream, stats.embeddings,
        stats.other, stats.chunks, stats.accepted, stats.open, stats.streaming);
    reply_json(&reply, "200 OK", body.bytes);
    send_reply(connection, &reply);
    buffer_free(&body);
    buffer_free(&reply);
}

static void answer_chat(struct Connection *connection, const char *body, size_t count) {
    if (has_flag(body, count, "\"stream\":true") || has_flag(body, count, "\"stream\": true")) {
        stats.stream += 1;
        connection->wants_usage = has_flag(body, count, "include_usage");
        return begin_stream(connection, &replies.openai);
    }
    stats.chat += 1;
    send_reply(connection, &replies.chat);
}

static void answer(
    struct Connection *connection, const char *target, size_t length, const char *body,
    size_t count) {
    if (holds(target, length, "/chat/completions")) return answer_chat(connection, body, count);
    if (holds(target, length, "/converse-stream")) {
        stats.converse_stream += 1;
        connection->wants_usage = false;
        return begin_stream(connection, &replies.bedrock);
    }
    if (holds(target, length, "/converse")) {
        stats.converse += 1;
        return send_reply(connection, &replies.converse);
    }
    if (holds(target, length, "/embeddings")) {
        stats.embeddings += 1;
        return send_reply(connection, &replies.embeddings);
    }
    if (holds(target, length, "/stats") || holds(target, length, "/set")) {
        return answer_control(connection, target, length);
    }
    stats.other += 1;
    send_reply(connection, &replies.missing);
}

// Answers the whole requests that have come. A stream holds up those behind it.
static void serve(struct Connection *connection) {
    while (!connection->stream && !connection->is_lost) {
        struct Buffer *input = &connection->input;
        char *head = input->bytes + input->start;
        size_t there = buffer_count(input);
        char *end = there ? memmem(head, there, "\r\n\r\n", 4) : NULL;
        if (!end) return;
        size_t length = (size_t)(end + 4 - head), body = 0;
        for (char *line = head; line < end;) {
            if (strncasecmp(line, "content-length:", 15) == 0) body = strtoul(line + 15, NULL, 10);
            // Bodies in chunks are not read: no peer sends them for ours.
            if (strncasecmp(line, "transfer-encoding:", 18) == 0) connection->is_lost = true;
            line = (char *)memchr(line, '\n', (size_t)(end + 2 - line)) + 1;
        }
        if (there < length + body) return;
        char *target = memchr(head, ' ', length);
        char *behind = target ? memchr(target + 1, ' ', (size_t)(end - target)) : NULL;
        if (!behind) {
            connection->is_lost = true;
            return;
        }
        answer(connection, target + 1, (size_t)(behind - target - 1), head + length, body);
        buffer_drop(input, length + body);
    }
}

// MARK: - Streams

static void finish(struct Connection *connection) {
    const struct StreamReply *stream = connection->stream;
    struct Buffer last = {0};
    buffer_append(&last, stream->end.bytes, stream->end.end);
    if (connection->wants_usage) {
        buffer_append(&last, stream->usage.bytes, stream->usage.end);
    }
    buffer_append(&last, stream->done.bytes, stream->done.end);
    send_reply(connection, &last);
    buffer_free(&last);
    connection->stream = NULL;
    stats.streaming -= 1;
    serve(connection);
}

static void step(struct Connection *connection) {
    const struct StreamReply *stream = connection->stream;
    dequeue(connection);
    if (!connection->has_begun) {
        connection->has_begun = true;
        send_reply(connection, &stream->head);
    } else if (connection->events_left > 0) {
        connection->events_left -= 1;
        stats.chunks += 1;
        send_reply(connection, &stream->event);
    } else {
        return finish(connection);
    }
    connection->due += (uint64_t)options.gap;
    if (!connection->is_lost) schedule(connection);
}

static void close_connection(struct Connection *connection) {
    dequeue(connection);
    if (connection->stream) stats.streaming -= 1;
    stats.open -= 1;
    close(connection->descriptor);
    buffer_free(&connection->input);
    buffer_free(&connection->output);
    free(connection);
}

// Takes the steps that are due, each stream at most one.
static void step_due(struct Queue *queue, uint64_t time) {
    struct Connection *last = queue->head.previous;
    for (struct Connection *next = first(queue); next && next->due <= time; next = first(queue)) {
        bool is_last = next == last;
        step(next);
        if (next->is_lost) close_connection(next);
        if (is_last) return;
    }
}

// MARK: - Events

static void accept_all(int listener) {
    for (;;) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        if (descriptor < 0) return;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct Connection *connection = calloc(1, sizeof *connection);
        if (!connection) fail("memory");
        connection->descriptor = descriptor;
        stats.accepted += 1;
        stats.open += 1;
        watch(epoll, descriptor, connection, false, true);
    }
}

static void receive(struct Connection *connection) {
    for (;;) {
        char *room = buffer_reserve(&connection->input, STEP);
        ssize_t count = recv(connection->descriptor, room, STEP, 0);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) {
            connection->is_lost = true;
            return;
        }
        connection->input.end += (size_t)count;
        serve(connection);
        if (connection->is_lost || count < STEP) return;
    }
}

static void flush(struct Connection *connection) {
    struct Buffer *output = &connection->output;
    ssize_t sent = send(
        connection->descriptor, output->bytes + output->start, buffer_count(output), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) connection->is_lost = true;
    if (sent <= 0) return;
    buffer_drop(output, (size_t)sent);
    if (buffer_count(output) > 0) return;
    connection->wants_output = false;
    watch(epoll, connection->descriptor, connection, false, false);
    schedule(connection);
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address)) fail("bind");
    if (listen(listener, 4096)) fail("listen");
    return listener;
}

static uint64_t next_moment(void) {
    struct Connection *one = first(&beginning), *other = first(&running);
    uint64_t moment = one ? one->due : UINT64_MAX;
    return other && other->due < moment ? other->due : moment;
}

int mock_main(int count, char **arguments) {
    int port = 0;
    for (int index = 2; index < count; index += 1) {
        const char *name = arguments[index];
        long value = atol(option_value(&index, count, arguments));
        if (strcmp(name, "--port") == 0) port = (int)value;
        else if (strcmp(name, "--chunks") == 0) options.chunks = value;
        else if (strcmp(name, "--gap-us") == 0) options.gap = 1000 * value;
        else if (strcmp(name, "--first-us") == 0) options.first_delay = 1000 * value;
        else return fprintf(stderr, "BenchLoad mock: unknown option %s\n", name), 2;
    }
    prepare_process();
    replies_make(&replies);
    queue_init(&beginning);
    queue_init(&running);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(port);
    watch(epoll, listener, NULL, false, true);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = wait_until(epoll, events, EVENTS, next_moment());
        for (int index = 0; index < ready; index += 1) {
            struct Connection *connection = events[index].data.ptr;
            if (!connection) {
                accept_all(listener);
                continue;
            }
            if (events[index].events & EPOLLOUT) flush(connection);
            if (!connection->is_lost && events[index].events & ~(uint32_t)EPOLLOUT) {
                receive(connection);
            }
            if (connection->is_lost) close_connection(connection);
        }
        uint64_t time = now();
        step_due(&beginning, time);
        step_due(&running, time);
    }
}
