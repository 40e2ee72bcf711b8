// What the mock upstream says, made once.
#ifndef REPLIES_H
#define REPLIES_H

#include "support.h"

// The pieces of a streamed answer: each goes out with one send.
struct StreamReply {
    struct Buffer head, event, end, usage, done;
};

struct Replies {
    struct Buffer chat, converse, embeddings, missing;
    struct StreamReply openai, bedrock;
};

void replies_make(struct Replies *replies);
// Appends a whole answer with a JSON body.
void reply_json(struct Buffer *buffer, const char *status, const char *body);

#endif
