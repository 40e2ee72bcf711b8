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

/// Binds the calling thread to one processor; 0 or an errno value.
int csys_pin_to_processor(int processor);

/// The process environment, which Swift 6 will not let us read as a global.
char **csys_environment(void);

#if defined(__SSE2__)
/// 0xff for each `"`, `\` and control byte.
static inline __m128i csys_string_stops(__m128i chunk) {
    const __m128i control = _mm_set1_epi8(0x1f);
    return _mm_or_si128(
        _mm_or_si128(_mm_cmpeq_epi8(chunk, _mm_set1_epi8('"')), _mm_cmpeq_epi8(chunk, _mm_set1_epi8('\\'))),
        _mm_cmpeq_epi8(_mm_min_epu8(chunk, control), chunk));
}
#endif

/// A run of bytes that a JSON string may hold as they are.
typedef struct {
    /// Where it ends.
    size_t end;
    /// Zero when all of it is ASCII. May be set by what stands behind it, too.
    unsigned beyond_ascii;
} csys_string_run;

/// The run in [from, length) up to the first `"`, `\` or control byte, or to `length`.
static inline csys_string_run csys_string_end(const uint8_t *bytes, size_t from, size_t length) {
    size_t at = from;
    uint8_t last = 0;
    unsigned beyond_ascii = 0;
#if defined(__SSE2__)
    __m128i seen = _mm_setzero_si128();
    // Most strings are short; a long one is read 64 bytes at a time.
    size_t far = from + 64;
    while (at + 16 <= length) {
        const __m128i *here = (const __m128i *)(bytes + at);
        if (at >= far && at + 64 <= length) {
            __m128i a = _mm_loadu_si128(here), b = _mm_loadu_si128(here + 1);
            __m128i c = _mm_loadu_si128(here + 2), d = _mm_loadu_si128(here + 3);
            __m128i stops = _mm_or_si128(
                _mm_or_si128(csys_string_stops(a), csys_string_stops(b)),
                _mm_or_si128(csys_string_stops(c), csys_string_stops(d)));
            if (!_mm_movemask_epi8(stops)) {
                seen = _mm_or_si128(seen, _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)));
                at += 64;
                continue;
            }
            far = length;
        }
        __m128i chunk = _mm_loadu_si128(here);
        seen = _mm_or_si128(seen, chunk);
        int stops = _mm_movemask_epi8(csys_string_stops(chunk));
        if (stops) {
            csys_string_run run = {at + (size_t)__builtin_ctz((unsigned)stops), (unsigned)_mm_movemask_epi8(seen)};
            return run;
        }
        at += 16;
    }
    beyond_ascii = (unsigned)_mm_movemask_epi8(seen);
#endif
    while (at < length && bytes[at] != '"' && bytes[at] != '\\' && bytes[at] > 0x1f) last |= bytes[at++];
    csys_string_run run = {at, beyond_ascii | (last & 0x80)};
    return run;
}

#endif
