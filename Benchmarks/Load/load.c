// BenchLoad load --port N --body FILE [options]
//
//   --path PATH        /v1/chat/completions unless given
//   --header 'K: V'    may be repeated
//   --connections N    asks on each again as soon as it is answered (closed loop)
//   --rate N           asks N times a second instead, whether answers come or not: what is late
//                      counts from the moment it was due
//   --seconds S        how long; --warm-up S comes before and is not counted
//   --requests N       no more than these
//   --stream           answers are event streams: first event, gaps, [DONE]
//   --ramp S           connections begin one after the other over this time
//   --hold             one request on each connection; then says `idle`, and keeps them all open
//                      until its input ends
// One thread. Prints one JSON object; times are microseconds.
#define _GNU_SOURCE
#include "answer.h"
#include "histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, STEP = 256 << 10 };

struct Client {
    int descriptor;
    bool is_asking, wants_output, was_used;
    size_t sent;
    // When the request was due, and when its last event came.
    uint64_t asked_at, event_at;
    struct Answer answer;
    struct Client *next_idle;
};

static struct {
    int port, connections;
    const char *path, *body;
    double rate, seconds, warm_up, ramp;
    long requests;
    bool is_stream, holds;
    struct Buffer headers;
} options = {.connections = 1, .path = "/v1/chat/completions", .seconds = 1};
static struct {
    unsigned long answered, refused, failed, unfinished, events, connected;
    char refusal[512];
} totals;
static struct Histogram latency, first_event, gap;
static struct Buffer request;
static uint64_t counting_from, ends_at;
static long begun, answered_once;
static struct Client *idle;
static int epoll;
static char bytes[STEP];

static void begin(struct Client *client, uint64_t due);

static bool may_begin(uint64_t time) {
    return time < ends_at && (options.requests == 0 || begun < options.requests);
}

// MARK: - Connections

static void connect_client(struct Client *client) {
    int one = 1;
    client->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->descriptor < 0) fail("socket");
    setsockopt(client->descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(client->descriptor, (struct sockaddr *)&address, sizeof address) &&
        errno != EINPROGRESS) {
        fail("connect");
    }
    client->wants_output = true;
    client->was_used = false;
    totals.connected += 1;
    watch(epoll, client->descriptor, client, true, true);
}

static void hang_up(struct Client *client) {
    if (client->descriptor >= 0) close(client->descriptor);
    client->descriptor = -1;
}

static void push(struct Client *client) {
    while (client->sent < request.end) {
        ssize_t count = send(
            client->descriptor, request.bytes + client->sent, request.end - client->sent,
            MSG_NOSIGNAL);
        if (count < 0) break;
        client->sent += (size_t)count;
    }
    bool wants_output = client->sent < request.end;
    if (wants_output == client->wants_output) return;
    client->wants_output = wants_output;
    watch(epoll, client->descriptor, client, wants_output, false);
}

// MARK: - Requests

static void begin(struct Client *client, uint64_t due) {
    bool is_new = client->descriptor < 0;
    if (is_new) connect_client(client);
    client->is_asking = true;
    client->sent = 0;
    client->asked_at = due;
    client->event_at = 0;
    answer_begin(&client->answer);
    if (!is_new) push(client);
}

static void begin_next(struct Client *client) {
    client->is_asking = false;
    uint64_t time = now();
    if (options.holds) {
        answered_once += 1;
    } else if (options.rate > 0) {
        client->next_idle = idle;
        idle = client;
    } else if (may_begin(time)) {
        begun += 1;
        begin(client, time);
    }
}

static bool counts(const struct Client *client) { return client->asked_at >= counting_from; }

static void answered(struct Client *client) {
    client->was_used = true;
    if (client->answer.closes) hang_up(client);
    if (counts(client)) {
        if (client->answer.status == 200) {
            totals.answered += 1;
            histogram_add(&latency, now() - client->asked_at);
            if (options.is_stream && !client->answer.is_done) totals.unfinished += 1;
        } else {
            totals.refused += 1;
            snprintf(totals.refusal, sizeof totals.refusal, "%s", client->answer.head);
        }
    }
    begin_next(client);
}

static void lost(struct Client *client) {
    bool is_unanswered = client->is_asking && client->answer.head_length == 0;
    hang_up(client);
    if (!client->is_asking) return;
    if (client->was_used && is_unanswered) {
        // A kept connection that was closed in the moment of its use: ask again, as clients do.
        return begin(client, client->asked_at);
    }
    totals.failed += 1;
    begin_next(client);
}

static void note_events(struct Client *client, long more) {
    if (more == 0) return;
    uint64_t time = now();
    if (time >= counting_from && time < ends_at) {
        totals.events += (unsigned long)more;
        if (client->event_at) {
            histogram_add(&gap, time - client->event_at);
            // Those that came together came without a gap.
            for (long index = 1; index < more; index += 1) histogram_add(&gap, 0);
        } else if (counts(client)) {
            histogram_add(&first_event, time - client->asked_at);
        }
    }
    client->event_at = time;
}

static void receive(struct Client *client) {
    for (;;) {
        ssize_t count = recv(client->descriptor, bytes, sizeof bytes, 0);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) return lost(client);
        if (!client->is_asking) return hang_up(client);
        long events = client->answer.events;
        if (answer_receive(&client->answer, bytes, (size_t)count) < 0) return lost(client);
        if (options.is_stream) note_events(client, client->answer.events - events);
        if (client->answer.state == ANSWER_END) return answered(client);
        if (count < (ssize_t)sizeof bytes) return;
    }
}

// MARK: - The loop

// Begins what is due at a steady rate; when the next one is.
static uint64_t begin_due(uint64_t start) {
    for (;;) {
        uint64_t due = start + (uint64_t)((double)begun * 1e9 / options.rate);
        // Without a free connection it begins late, and its time runs already.
        if (due > now() || !idle || !may_begin(due)) return due;
        struct Client *client = idle;
        idle = client->next_idle;
        begun += 1;
        begin(client, due);
    }
}

static int asking(const struct Client *clients) {
    int count = 0;
    for (int index = 0; index < options.connections; index += 1) {
        count += clients[index].is_asking;
    }
    return count;
}

static void handle_events(uint64_t moment) {
    struct epoll_event events[EVENTS];
    int ready = wait_until(epoll, events, EVENTS, moment);
    for (int index = 0; index < ready; index += 1) {
        struct Client *client = events[index].data.ptr;
        if (client->descriptor < 0) continue;
        if (events[index].events & EPOLLOUT) push(client);
        if (events[index].events & ~(uint32_t)EPOLLOUT) receive(client);
    }
}

// Keeps all connections open until the input ends.
static void hold(void) {
    printf("idle\n");
    fflush(stdout);
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char rest[64];
    while (poll(&input, 1, 0) == 0 || read(0, rest, sizeof rest) > 0) {
        handle_events(now() + 20000000);
    }
}

static void run(struct Client *clients) {
    uint64_t start = now(), grace = 2000000000;
    counting_from = start + (uint64_t)(options.warm_up * 1e9);
    ends_at = counting_from + (uint64_t)(options.seconds * 1e9);
    int started = 0;
    for (;;) {
        uint64_t time = now(), moment = ends_at;
        for (; options.rate == 0 && started < options.connections; started += 1) {
            uint64_t due =
                start + (uint64_t)(options.ramp * 1e9 * started / options.connections);
            if (due < moment) moment = due;
            if (due > time || !may_begin(time)) break;
            begun += 1;
            begin(&clients[started], time);
        }
        if (options.rate > 0) {
            uint64_t due = begin_due(start);
            if (due < moment && idle) moment = due;
        }
        if (options.holds && answered_once == options.connections) return hold();
        if (!may_begin(time)) {
            bool is_late = options.is_stream ? time >= ends_at : time >= ends_at + grace;
            if (is_late || asking(clients) == 0) return;
            moment = time + 5000000;
        }
        handle_events(moment);
    }
}

static void print_totals(void) {
    uint64_t end = now() < ends_at ? now() : ends_at;
    double seconds = (double)(end - counting_from) / 1e9;
    printf(
        "{\"seconds\": %.3f, \"answered\": %lu, \"refused\": %lu, \"failed\": %lu, "
        "\"unfinished\": %lu, \"connected\": %lu, \"events\": %lu, \"per_second\": %.1f, "
        "\"events_per_second\": %.1f, ",
        seconds, totals.answered, totals.refused, totals.failed, totals.unfinished,
        totals.connected, totals.events, (double)totals.answered / seconds,
        (double)totals.events / seconds);
    histogram_print(&latency, "latency");
    printf(", ");
    histogram_print(&first_event, "first_event");
    printf(", ");
    histogram_print(&gap, "gap");
    printf("}\n");
    if (totals.refused) fprintf(stderr, "refused: %s\n", totals.refusal);
}

static void make_request(void) {
    struct Buffer body = {0};
    FILE *file = options.body ? fopen(options.body, "rb") : NULL;
    if (!file) fail("the body's file");
    for (size_t count; (count = fread(buffer_reserve(&body, STEP), 1, STEP, file)) > 0;) {
        body.end += count;
    }
    fclose(file);
    buffer_text(
        &request,
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n",
        options.path, options.port, body.end);
    buffer_append(&request, options.headers.bytes, options.headers.end);
    buffer_text(&request, "\r\n");
    buffer_append(&request, body.bytes, body.end);
    buffer_free(&body);
}

int load_main(int count, char **arguments) {
    for (int index = 2; index < count; index += 1) {
        const char *name = arguments[index];
        if (strcmp(name, "--stream") == 0) options.is_stream = true;
        else if (strcmp(name, "--hold") == 0) options.holds = true;
        else {
            const char *value = option_value(&index, count, arguments);
            if (strcmp(name, "--port") == 0) options.port = atoi(value);
            else if (strcmp(name, "--path") == 0) options.path = value;
            else if (strcmp(name, "--body") == 0) options.body = value;
            else if (strcmp(name, "--header") == 0) {
                buffer_text(&options.headers, "%s\r\n", value);
            } else if (strcmp(name, "--connections") == 0) options.connections = atoi(value);
            else if (strcmp(name, "--rate") == 0) options.rate = atof(value);
            else if (strcmp(name, "--seconds") == 0) options.seconds = atof(value);
            else if (strcmp(name, "--warm-up") == 0) options.warm_up = atof(value);
            else if (strcmp(name, "--requests") == 0) options.requests = atol(value);
            else if (strcmp(name, "--ramp") == 0) options.ramp = atof(value);
            else return fprintf(stderr, "BenchLoad load: unknown option %s\n", name), 2;
        }
    }
    prepare_process();
    make_request();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct Client *clients = calloc((size_t)options.connections, sizeof *clients);
    if (!clients) fail("memory");
    for (int index = options.connections - 1; index >= 0; index -= 1) {
        clients[index].descriptor = -1;
        clients[index].next_idle = idle;
        idle = &clients[index];
    }
    run(clients);
    print_totals();
    return 0;
}
