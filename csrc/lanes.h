/* A group of VMs side by side: the operations that differ between instruction sets, for the one that XENMEM_LANES names
 * (1 scalar, 4 AVX2, 8 AVX-512). Included once by each lanes_*.c; the formulas that build on it are written once, in C
 * operators, which act on `real` (double) and `whole` (uint64_t) lane by lane. All instruction sets answer alike: every
 * operation is exact for the arguments that the formulas give it, or rounded to the nearest double.
 * Must not depend on the memory model. */
#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "xenmem needs IEEE double arithmetic without excess precision (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif

#define LANES XENMEM_LANES

#if LANES == 8
#define TARGET __attribute__((target("avx512f,avx512dq")))
#elif LANES == 4
#define TARGET __attribute__((target("avx2,fma")))
#else
#define TARGET
#endif

#if LANES > 1
#include <immintrin.h>
#define INLINE static inline TARGET __attribute__((always_inline))
typedef double real __attribute__((vector_size(8 * LANES)));
typedef uint64_t whole __attribute__((vector_size(8 * LANES)));
#else
#define INLINE static inline
typedef double real;
typedef uint64_t whole;
#endif

/* times_plus rounds once or twice, by instruction set: only for products that are exact, or truncated with room to
 * spare. by_type looks up the table, if_negative goes by the sign bit. */
#if LANES == 8
INLINE whole load_types(const uint8_t *at) { return (whole)_mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)at)); }
INLINE real load_vcpus(const int32_t *at) { return (real)_mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i *)at)); }
INLINE real truncated(real x) { return (real)_mm512_roundscale_pd((__m512d)x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
INLINE real times_plus(real x, real y, real z) { return (real)_mm512_fmadd_pd((__m512d)x, (__m512d)y, (__m512d)z); }
INLINE real larger(real x, real y) { return (real)_mm512_max_pd((__m512d)x, (__m512d)y); }
INLINE real smaller(real x, real y) { return (real)_mm512_min_pd((__m512d)x, (__m512d)y); }
INLINE real by_type(const double table[4], whole type)
{
    return (real)_mm512_permutexvar_pd((__m512i)type, _mm512_broadcast_f64x4(_mm256_loadu_pd(table)));
}
INLINE real if_negative(real sign, real then, real otherwise)
{
    return (real)_mm512_mask_blend_pd(_mm512_movepi64_mask((__m512i)sign), (__m512d)otherwise, (__m512d)then);
}

#elif LANES == 4
INLINE whole load_types(const uint8_t *at) /* as 2 type and 2 type + 1: by_type permutes halves of doubles */
{
    int32_t four;
    memcpy(&four, at, sizeof four);
    const __m256i which_byte = _mm256_setr_epi8(0, -1, -1, -1, 0, -1, -1, -1, 1, -1, -1, -1, 1, -1, -1, -1,
                                                2, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1, 3, -1, -1, -1);
    const __m256i halves = _mm256_shuffle_epi8(_mm256_set1_epi32(four), which_byte);
    return (whole)_mm256_or_si256(_mm256_slli_epi32(halves, 1), _mm256_set1_epi64x((int64_t)1 << 32));
}
INLINE real load_vcpus(const int32_t *at) { return (real)_mm256_cvtepi32_pd(_mm_loadu_si128((const __m128i *)at)); }
INLINE real truncated(real x) { return (real)_mm256_round_pd((__m256d)x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
INLINE real times_plus(real x, real y, real z) { return (real)_mm256_fmadd_pd((__m256d)x, (__m256d)y, (__m256d)z); }
INLINE real larger(real x, real y) { return (real)_mm256_max_pd((__m256d)x, (__m256d)y); }
INLINE real smaller(real x, real y) { return (real)_mm256_min_pd((__m256d)x, (__m256d)y); }
INLINE real by_type(const double table[4], whole type)
{
    return (real)_mm256_permutevar8x32_ps(_mm256_castpd_ps(_mm256_loadu_pd(table)), (__m256i)type);
}
INLINE real if_negative(real sign, real then, real otherwise)
{
    return (real)_mm256_blendv_pd((__m256d)otherwise, (__m256d)then, (__m256d)sign);
}

#else
INLINE whole load_types(const uint8_t *at) { return *at; }
INLINE real load_vcpus(const int32_t *at) { return *at; }
INLINE real truncated(real x) { return (real)(int64_t)x; }
INLINE real times_plus(real x, real y, real z) { return x * y + z; }
INLINE real larger(real x, real y) { return x > y ? x : y; }
INLINE real smaller(real x, real y) { return x < y ? x : y; }
INLINE real by_type(const double table[4], whole type) { return table[type]; }
INLINE real if_negative(real sign, real then, real otherwise) { return sign < 0 ? then : otherwise; }
#endif

INLINE real broadcast(double x) { return x - (real){0}; }

INLINE whole load_amounts(const int64_t *at)
{
    whole x;
    memcpy(&x, at, sizeof x);
    return x;
}

INLINE real load_reals(const double *at)
{
    real x;
    memcpy(&x, at, sizeof x);
    return x;
}

INLINE void store_amounts(int64_t *at, whole x) { memcpy(at, &x, sizeof x); }

INLINE whole bits_of(real x)
{
    whole bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Bytes below 2^52 as MiB, exactly, plus a constant that is itself a whole number of bytes. */
#if LANES > 1
INLINE real mib_plus(whole bytes, double mib) /* as low bits of 2^32, bytes count 2^-20 each */
{
    const whole bits = bytes | UINT64_C(0x41f0000000000000);
    real sum;
    memcpy(&sum, &bits, sizeof sum);
    return sum - (0x1p32 - mib);
}
#else
INLINE real mib_plus(whole bytes, double mib) { return (real)bytes * 0x1p-20 + mib; }
#endif

/* Both rest on this: the low bits of 1.5 * 2^52 + x are x in two's complement, for whole -2^51 <= x < 2^51. */
INLINE whole whole_of(real x) { return bits_of(x + 0x1.8p52) - UINT64_C(0x4338000000000000); }
INLINE whole shifted_whole_of(real x, int shift) /* by 13 at least, so that the bits of 1.5 * 2^52 fall out */
{
    return bits_of(x + 0x1.8p52) << shift;
}
