// What Swift's Glibc module leaves out: epoll, eventfd, signalfd and the GNU-only calls.
// Never define _GNU_SOURCE here: it changes types that Swift has already imported.
#ifndef SLUICE_CSYS_H
#define SLUICE_CSYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/// accept4(2) with SOCK_NONBLOCK and SOCK_CLOEXEC; the descriptor or -1 with errno.
int csys_accept(int listener, struct sockaddr *address, socklen_t *length);

/// Lets the listener at a position among all with its address (SO_REUSEPORT, in the order of listen)
/// take every new connection; where there is none, they are spread as before. 0, or -1 with errno.
int csys_steer_connections(int listener, unsigned position);

/// The process environment, which Swift 6 will not let us read as a global.
char **csys_environment(void);

/// Takes the beginning of some bytes into a CRC-32 (that of zlib): whole 16 bytes, as many as there
/// are. Returns how many bytes that were; 0 for few bytes, and where the processor has no
/// instruction for it.
size_t csys_crc32_begin(uint32_t *crc, const uint8_t *bytes, size_t length);

/// A run of bytes that a JSON string may hold as they are.
typedef struct {
    /// Where it ends.
    size_t end;
    /// Zero when all of it is ASCII. May be set by what stands behind it, too.
    unsigned beyond_ascii;
} csys_string_run;

/// The beginning of such a run: whole 64 bytes from `from` on that hold no `"`, `\` or control byte, as
/// many as there are. None where the processor cannot look at 32 bytes at a time.
csys_string_run csys_long_string_run(const uint8_t *bytes, size_t from, size_t length);

/// The run in [from, length) up to the first `"`, `\` or control byte, or to `length`.
static inline csys_string_run csys_string_run_at(const uint8_t *bytes, size_t from, size_t length) {
    csys_string_run run = {from, 0};
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    while (run.end + 16 <= length) {
        // Most are short.
        if (run.end == from + 64) {
            csys_string_run more = csys_long_string_run(bytes, run.end, length);
            run.end = more.end;
            run.beyond_ascii |= more.beyond_ascii;
            if (run.end + 16 > length) break;
        }
        __m128i chunk = _mm_loadu_si128((const __m128i *)(bytes + run.end));
        __m128i hit = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(chunk, quote), _mm_cmpeq_epi8(chunk, slash)),
            _mm_cmpeq_epi8(_mm_min_epu8(chunk, control), chunk));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        run.beyond_ascii |= (unsigned)_mm_movemask_epi8(chunk);
        if (mask) {
            run.end += (size_t)__builtin_ctz(mask);
            return run;
        }
        run.end += 16;
    }
#endif
    for (; run.end < length; run.end++) {
        uint8_t byte = bytes[run.end];
        if (byte == '"' || byte == '\\' || byte <= 0x1f) break;
        run.beyond_ascii |= byte & 0x80;
    }
    return run;
}

/// Where the token of RFC 9110 section 5.6.2 ends that begins at `from`; its letters become lower-case.
size_t csys_lowercase_token(uint8_t *bytes, size_t from, size_t length);

/// Where the bytes in [from, length) end that a field's value may hold (RFC 9110 section 5.5): no
/// control byte but HTAB.
static inline size_t csys_field_value_end(const uint8_t *bytes, size_t from, size_t length) {
    size_t at = from;
#if defined(__SSE2__)
    const __m128i control = _mm_set1_epi8(0x1f);
    const __m128i tab = _mm_set1_epi8('\t'), delete = _mm_set1_epi8(0x7f);
    for (; at + 16 <= length; at += 16) {
        __m128i chunk = _mm_loadu_si128((const __m128i *)(bytes + at));
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(chunk, control), chunk);
        __m128i hit = _mm_or_si128(
            _mm_andnot_si128(_mm_cmpeq_epi8(chunk, tab), low), _mm_cmpeq_epi8(chunk, delete));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask) return at + (size_t)__builtin_ctz(mask);
    }
#endif
    for (; at < length; at++) {
        uint8_t byte = bytes[at];
        if ((byte <= 0x1f && byte != '\t') || byte == 0x7f) break;
    }
    return at;
}

#endif
