#include "replies.h"

#include <string.h>

#define ID "\"id\":\"chatcmpl-benchmark01\",\"created\":1764000000,\"model\":\"chat\""
#define USAGE "\"usage\":{\"prompt_tokens\":31,\"completion_tokens\":57,\"total_tokens\":88}"
#define SAID \
    "One loop a core; the answer is as long as a short paragraph usually is, so that heads do " \
    "not weigh more than they do in real life, and it is always the same."

void reply_json(struct Buffer *buffer, const char *status, const char *body) {
    buffer_text(
        buffer,
        "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
        status, strlen(body), body);
}

// A chunk of HTTP/1.1's chunked coding.
static void chunk(struct Buffer *buffer, const void *bytes, size_t count) {
    buffer_text(buffer, "%zx\r\n", count);
    buffer_append(buffer, bytes, count);
    buffer_text(buffer, "\r\n");
}

static void text_chunk(struct Buffer *buffer, const char *text) {
    chunk(buffer, text, strlen(text));
}

static void stream_head(struct Buffer *buffer, const char *type) {
    buffer_text(
        buffer, "HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n", type);
}

static void make_openai(struct StreamReply *reply) {
    stream_head(&reply->head, "text/event-stream");
    text_chunk(
        &reply->head,
        "data: {" ID ",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,"
        "\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n");
    text_chunk(
        &reply->event,
        "data: {" ID ",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,"
        "\"delta\":{\"content\":\" token\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    text_chunk(
        &reply->usage, "data: {" ID ",\"object\":\"chat.completion.chunk\",\"choices\":[]," USAGE
                       "}\n\n");
    text_chunk(
        &reply->end,
        "data: {" ID ",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,"
        "\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
}

// CRC-32 of IEEE 802.3, bit by bit: frames are made once.
static uint32_t checksum(const unsigned char *bytes, size_t count) {
    uint32_t sum = 0xffffffffu;
    for (size_t index = 0; index < count; index += 1) {
        sum ^= bytes[index];
        for (int bit = 0; bit < 8; bit += 1) sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
    }
    return ~sum;
}

static void number(struct Buffer *buffer, uint32_t value) {
    unsigned char bytes[4] = {
        (unsigned char)(value >> 24), (unsigned char)(value >> 16), (unsigned char)(value >> 8),
        (unsigned char)value};
    buffer_append(buffer, bytes, sizeof bytes);
}

static void header(struct Buffer *block, const char *name, const char *value) {
    size_t length = strlen(value);
    unsigned char name_length = (unsigned char)strlen(name);
    unsigned char kind[3] = {7, (unsigned char)(length >> 8), (unsigned char)length};
    buffer_append(block, &name_length, 1);
    buffer_append(block, name, name_length);
    buffer_append(block, kind, sizeof kind);
    buffer_append(block, value, length);
}

// An event of AWS's event-stream encoding, in a chunk of its own.
static void frame_chunk(struct Buffer *buffer, const char *type, const char *payload) {
    struct Buffer block = {0}, frame = {0};
    header(&block, ":event-type", type);
    header(&block, ":content-type", "application/json");
    header(&block, ":message-type", "event");
    size_t headers = buffer_count(&block), body = strlen(payload);
    number(&frame, (uint32_t)(headers + body + 16));
    number(&frame, (uint32_t)headers);
    number(&frame, checksum((unsigned char *)frame.bytes, 8));
    buffer_append(&frame, block.bytes, headers);
    buffer_append(&frame, payload, body);
    number(&frame, checksum((unsigned char *)frame.bytes, frame.end));
    chunk(buffer, frame.bytes, frame.end);
    buffer_free(&block);
    buffer_free(&frame);
}

static void make_bedrock(struct StreamReply *reply) {
    stream_head(&reply->head, "application/vnd.amazon.eventstream");
    frame_chunk(&reply->head, "messageStart", "{\"p\":\"abcdefgh\",\"role\":\"assistant\"}");
    frame_chunk(
        &reply->event, "contentBlockDelta",
        "{\"contentBlockIndex\":0,\"delta\":{\"text\":\" token\"},\"p\":\"abcdefghijklmnop\"}");
    frame_chunk(&reply->end, "contentBlockStop", "{\"contentBlockIndex\":0,\"p\":\"abc\"}");
    frame_chunk(&reply->end, "messageStop", "{\"p\":\"abcd\",\"stopReason\":\"end_turn\"}");
    frame_chunk(
        &reply->end, "metadata",
        "{\"metrics\":{\"latencyMs\":812},\"p\":\"abcdef\",\"usage\":{\"inputTokens\":31,"
        "\"outputTokens\":57,\"totalTokens\":88}}");
}

void replies_make(struct Replies *replies) {
    reply_json(
        &replies->chat, "200 OK",
        "{" ID ",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{"
        "\"role\":\"assistant\",\"content\":\"" SAID "\"},\"logprobs\":null,"
        "\"finish_reason\":\"stop\"}]," USAGE "}");
    reply_json(
        &replies->converse, "200 OK",
        "{\"metrics\":{\"latencyMs\":812},\"output\":{\"message\":{\"content\":[{\"text\":\"" SAID
        "\"}],\"role\":\"assistant\"}},\"stopReason\":\"end_turn\",\"usage\":{"
        "\"inputTokens\":31,\"outputTokens\":57,\"totalTokens\":88}}");
    reply_json(
        &replies->embeddings, "200 OK",
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
        "\"embedding\":[0.25,-0.5,0.125]}],\"model\":\"chat\","
        "\"usage\":{\"prompt_tokens\":31,\"total_tokens\":31}}");
    reply_json(&replies->missing, "404 Not Found", "{\"error\":{\"message\":\"unknown path\"}}");
    make_openai(&replies->openai);
    make_bedrock(&replies->bedrock);
    text_chunk(&replies->openai.done, "data: [DONE]\n\n");
    buffer_text(&replies->openai.done, "0\r\n\r\n");
    buffer_text(&replies->bedrock.done, "0\r\n\r\n");
}
