#include "csys.h"

#if defined(__x86_64__)
#include <immintrin.h>

/// 0xff for each `"`, `\` and control byte.
__attribute__((target("avx2"))) static inline __m256i stops(__m256i chunk) {
    const __m256i control = _mm256_set1_epi8(0x1f);
    return _mm256_or_si256(
        _mm256_or_si256(
            _mm256_cmpeq_epi8(chunk, _mm256_set1_epi8('"')),
            _mm256_cmpeq_epi8(chunk, _mm256_set1_epi8('\\'))),
        _mm256_cmpeq_epi8(_mm256_min_epu8(chunk, control), chunk));
}

__attribute__((target("avx2"))) static csys_string_run avx2_run(
    const uint8_t *bytes, size_t from, size_t length) {
    __m256i seen = _mm256_setzero_si256();
    size_t at = from;
    for (; at + 64 <= length; at += 64) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(bytes + at));
        __m256i high = _mm256_loadu_si256((const __m256i *)(bytes + at + 32));
        if (_mm256_movemask_epi8(_mm256_or_si256(stops(low), stops(high)))) break;
        seen = _mm256_or_si256(seen, _mm256_or_si256(low, high));
    }
    csys_string_run run = {at, (unsigned)_mm256_movemask_epi8(seen)};
    return run;
}

csys_string_run csys_long_string_run(const uint8_t *bytes, size_t from, size_t length) {
    if (__builtin_cpu_supports("avx2")) return avx2_run(bytes, from, length);
    csys_string_run none = {from, 0};
    return none;
}
#else
csys_string_run csys_long_string_run(const uint8_t *bytes, size_t from, size_t length) {
    (void)bytes, (void)length;
    csys_string_run none = {from, 0};
    return none;
}
#endif
