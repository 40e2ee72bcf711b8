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

/// Offset in [from, length) of the first `"`, `\` or control byte; `length` when there is none.
static inline size_t csys_string_end(const uint8_t *bytes, size_t from, size_t length) {
    size_t at = from;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    while (at + 16 <= length) {
        __m128i chunk = _mm_loadu_si128((const __m128i *)(bytes + at));
        __m128i hit = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(chunk, quote), _mm_cmpeq_epi8(chunk, slash)),
            _mm_cmpeq_epi8(_mm_min_epu8(chunk, control), chunk));
        int mask = _mm_movemask_epi8(hit);
        if (mask) return at + (size_t)__builtin_ctz((unsigned)mask);
        at += 16;
    }
#endif
    while (at < length && bytes[at] != '"' && bytes[at] != '\\' && bytes[at] > 0x1f) at++;
    return at;
}

#endif
