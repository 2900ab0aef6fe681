/* Arithmetic of translated Python (translate.py): divisions that round down, the smaller and the larger of two. */
#ifndef XENMEM_NUMBERS_H
#define XENMEM_NUMBERS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__GNUC__)
#define XM_UNUSED __attribute__((unused))
#else
#define XM_UNUSED
#endif

/* As Python's; by 0 it is 0, as in numba's error model of NumPy. */
XM_UNUSED static inline int64_t xm_div(int64_t a, int64_t b)
{
    return b == 0 ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0));
}

XM_UNUSED static inline int64_t xm_mod(int64_t a, int64_t b)
{
    const int64_t rest = b == 0 ? 0 : a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

#define XM_OF_TYPE(type)                                              \
    XM_UNUSED static inline type xm_min_##type(type a, type b)        \
    {                                                                 \
        return b < a ? b : a;                                         \
    }                                                                 \
    XM_UNUSED static inline type xm_max_##type(type a, type b)        \
    {                                                                 \
        return b > a ? b : a;                                         \
    }
XM_OF_TYPE(int64_t)
XM_OF_TYPE(double)

XM_UNUSED static inline double xm_square(double x)
{
    return x * x;
}

#ifndef XM_AT
#define XM_AT(place, extent) (place)
#endif

#endif
