// Reads an answer of HTTP/1.1, cut anywhere, and counts the events of a streamed one.
#ifndef ANSWER_H
#define ANSWER_H

#include "support.h"

enum AnswerState {
    ANSWER_HEAD,
    ANSWER_BODY,
    ANSWER_SIZE,
    ANSWER_CHUNK,
    ANSWER_TRAILER,
    ANSWER_END
};

struct Answer {
    enum AnswerState state;
    char head[4096];
    size_t head_length;
    // Bytes that are left of the body or of the chunk, its line end included.
    size_t left;
    int status;
    bool closes;
    // Of `data:` lines: how many began, where the line is, whether `[DONE]` was one.
    long events;
    size_t line_position;
    char line[8];
    bool is_done;
};

void answer_begin(struct Answer *answer);
// Takes bytes; how many of them belong to this answer, or -1 when they make no sense.
long answer_receive(struct Answer *answer, const char *bytes, size_t count);

#endif
