#define _GNU_SOURCE
#include "answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void answer_begin(struct Answer *answer) {
    answer->state = ANSWER_HEAD;
    answer->head_length = 0;
    answer->left = 0;
    answer->status = 0;
    answer->closes = false;
    answer->events = 0;
    answer->line_position = 0;
    answer->is_done = false;
}

static bool is_field(const char *line, const char *name) {
    return strncasecmp(line, name, strlen(name)) == 0;
}

static void read_head(struct Answer *answer) {
    bool is_chunked = false;
    answer->status = atoi(answer->head + 9);
    for (char *line = strchr(answer->head, '\n'); line; line = strchr(line, '\n')) {
        line += 1;
        if (is_field(line, "content-length:")) answer->left = strtoul(line + 15, NULL, 10);
        if (is_field(line, "transfer-encoding: chunked")) is_chunked = true;
        if (is_field(line, "connection: close")) answer->closes = true;
    }
    if (is_chunked) answer->left = 0;
    answer->state = is_chunked ? ANSWER_SIZE : answer->left ? ANSWER_BODY : ANSWER_END;
}

static long take_head(struct Answer *answer, const char *bytes, size_t count) {
    size_t before = answer->head_length;
    size_t room = sizeof answer->head - 1 - before;
    size_t copied = count < room ? count : room;
    memcpy(answer->head + before, bytes, copied);
    answer->head_length += copied;
    answer->head[answer->head_length] = 0;
    char *end = memmem(answer->head, answer->head_length, "\r\n\r\n", 4);
    if (!end) return copied ? (long)copied : -1;
    end[2] = 0;
    read_head(answer);
    return end + 4 - answer->head - (long)before;
}

// Looks at the beginnings of lines only.
static void look(struct Answer *answer, const char *bytes, size_t count) {
    static const char data[] = "data: [";
    for (size_t index = 0; index < count;) {
        if (answer->line_position < sizeof data - 1) {
            size_t position = answer->line_position;
            answer->line[position] = bytes[index];
            answer->line_position += 1;
            if (position == 4 && memcmp(answer->line, data, 5) == 0) answer->events += 1;
            if (position == 6 && memcmp(answer->line, data, 7) == 0) answer->is_done = true;
            if (bytes[index] == '\n') answer->line_position = 0;
            index += 1;
            continue;
        }
        const char *end = memchr(bytes + index, '\n', count - index);
        if (!end) return;
        index = (size_t)(end + 1 - bytes);
        answer->line_position = 0;
    }
}

static int digit(char letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    letter |= 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

static long take_size(struct Answer *answer, char letter) {
    if (letter == '\n') {
        // What follows is the chunk and its line end, or the trailer.
        answer->state = answer->left ? ANSWER_CHUNK : ANSWER_TRAILER;
        if (answer->left) answer->left += 2;
    } else if (letter != '\r') {
        if (digit(letter) < 0) return -1;
        answer->left = answer->left * 16 + (size_t)digit(letter);
    }
    return 1;
}

static long take_body(struct Answer *answer, const char *bytes, size_t count) {
    size_t line_end = answer->state == ANSWER_CHUNK ? 2 : 0;
    size_t taken = count < answer->left ? count : answer->left;
    size_t text = answer->left > line_end ? answer->left - line_end : 0;
    look(answer, bytes, taken < text ? taken : text);
    answer->left -= taken;
    if (answer->left == 0) answer->state = line_end ? ANSWER_SIZE : ANSWER_END;
    return (long)taken;
}

long answer_receive(struct Answer *answer, const char *bytes, size_t count) {
    size_t position = 0;
    while (position < count && answer->state != ANSWER_END) {
        long taken = -1;
        switch (answer->state) {
        case ANSWER_HEAD: taken = take_head(answer, bytes + position, count - position); break;
        case ANSWER_SIZE: taken = take_size(answer, bytes[position]); break;
        case ANSWER_BODY:
        case ANSWER_CHUNK: taken = take_body(answer, bytes + position, count - position); break;
        case ANSWER_TRAILER:
            // Lines with more than a line end are fields.
            if (bytes[position] == '\n') {
                if (answer->left == 0) answer->state = ANSWER_END;
                answer->left = 0;
            } else if (bytes[position] != '\r') {
                answer->left = 1;
            }
            taken = 1;
            break;
        case ANSWER_END: break;
        }
        if (taken < 0) return -1;
        position += (size_t)taken;
    }
    return (long)position;
}
