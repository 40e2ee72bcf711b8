#include "csys.h"

#if defined(__x86_64__)
#include <immintrin.h>

/// `folded` moved on by the distance that `powers` stand for, and what lies there.
__attribute__((target("pclmul,sse4.1"))) static inline __m128i fold(
    __m128i folded, __m128i powers, __m128i there) {
    return _mm_xor_si128(
        there, _mm_xor_si128(
                   _mm_clmulepi64_si128(folded, powers, 0x00),
                   _mm_clmulepi64_si128(folded, powers, 0x11)));
}

/// Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel
/// 2009; bits reflected, the constants are those of its page 16.
__attribute__((target("pclmul,sse4.1"))) static uint32_t fold_all(
    uint32_t crc, const uint8_t *bytes, size_t length) {
    const __m128i by_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i by_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const __m128i by_8 = _mm_set_epi64x(0, 0x163cd6124);
    const __m128i polynomial = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    const __m128i low = _mm_set_epi32(0, -1, 0, -1);
    const __m128i *at = (const __m128i *)bytes, *end = at + length / 16;
    __m128i first = _mm_xor_si128(_mm_loadu_si128(at), _mm_cvtsi32_si128((int)~crc));
    __m128i second = _mm_loadu_si128(at + 1), third = _mm_loadu_si128(at + 2);
    __m128i fourth = _mm_loadu_si128(at + 3);
    for (at += 4; end - at >= 4; at += 4) {
        first = fold(first, by_64, _mm_loadu_si128(at));
        second = fold(second, by_64, _mm_loadu_si128(at + 1));
        third = fold(third, by_64, _mm_loadu_si128(at + 2));
        fourth = fold(fourth, by_64, _mm_loadu_si128(at + 3));
    }
    __m128i all = fold(fold(fold(first, by_16, second), by_16, third), by_16, fourth);
    for (; at < end; at++) all = fold(all, by_16, _mm_loadu_si128(at));
    // 128 bits to 96, to 64, and by Barrett's reduction to 32.
    all = _mm_xor_si128(_mm_srli_si128(all, 8), _mm_clmulepi64_si128(all, by_16, 0x10));
    all = _mm_xor_si128(
        _mm_srli_si128(all, 4), _mm_clmulepi64_si128(_mm_and_si128(all, low), by_8, 0x00));
    __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(all, low), polynomial, 0x10);
    __m128i product = _mm_clmulepi64_si128(_mm_and_si128(quotient, low), polynomial, 0x00);
    return ~(uint32_t)_mm_extract_epi32(_mm_xor_si128(all, product), 1);
}

size_t csys_crc32_begin(uint32_t *crc, const uint8_t *bytes, size_t length) {
    if (length < 64 || !__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("sse4.1"))
        return 0;
    *crc = fold_all(*crc, bytes, length);
    return length / 16 * 16;
}
#else
size_t csys_crc32_begin(uint32_t *crc, const uint8_t *bytes, size_t length) {
    (void)crc, (void)bytes, (void)length;
    return 0;
}
#endif
