/* What the C of the compiled searches (translate.py) stands on: divisions that round down, memory that a function gives
 * back when it ends, and sorts that leave equals in the order in which numba's leave them. */
#ifndef XENMEM_SEARCHES_H
#define XENMEM_SEARCHES_H

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef XENMEM_CHECKED
static inline int64_t xm_at(int64_t place, int64_t extent, int line)
{
    if (place < 0 || place >= extent) {
        fprintf(stderr, "searches: line %d: %lld is outside 0..%lld\n", line, (long long)place, (long long)extent - 1);
        abort();
    }
    return place;
}
#define XM_AT(place, extent) xm_at(place, extent, __LINE__)
#endif
#include "numbers.h"

#define XM_OWNER __attribute__((cleanup(xm_give_back))) void

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wclobbered" /* after the jump nothing but a constant is given back */
#endif

/* errno says afterwards whether memory was lacking; what was taken until then is lost. */
static _Thread_local jmp_buf xm_no_memory;
#define XM_ENTER(nothing)      \
    errno = 0;                 \
    if (setjmp(xm_no_memory)) { \
        errno = ENOMEM;        \
        return nothing;        \
    }

XM_UNUSED static void xm_give_back(void *own)
{
    free(*(void **)own);
}

XM_UNUSED static void *xm_own(void *own, int64_t count, size_t size)
{
    void **owned = own;
    free(*owned);
    *owned = NULL;
    *owned = malloc(count > 0 ? (size_t)count * size : 1);
    if (!*owned)
        longjmp(xm_no_memory, 1);
    return *owned;
}

XM_UNUSED static inline int64_t xm_span(int64_t first, int64_t last)
{
    return last > first ? last - first : 0;
}

/* The rest needs the types of arrays: XM_ARRAYS stands behind them. A sort puts places in the order of their keys. It is
 * numba's quicksort; the stable one looks at places where keys are equal. */
#define XM_SORT(name, type, keys_type, LESS)                                                              \
    static void name(keys_type keys, xm_int64_1 places)                                                   \
    {                                                                                                     \
        const type *key = keys.at;                                                                        \
        int64_t *place = places.at, low = 0, high = keys.n - 1, waiting = 0, stack[128][2];               \
        for (int64_t i = 0; i < keys.n; i++)                                                              \
            place[i] = i;                                                                                 \
        for (;;) {                                                                                        \
            while (high - low >= 15) {                                                                    \
                const int64_t middle = (low + high) >> 1;                                                 \
                if (LESS(place[middle], place[low]))                                                      \
                    xm_swap(place + low, place + middle);                                                 \
                if (LESS(place[high], place[middle]))                                                     \
                    xm_swap(place + high, place + middle);                                                \
                if (LESS(place[middle], place[low]))                                                      \
                    xm_swap(place + low, place + middle);                                                 \
                const int64_t pivot = place[middle];                                                      \
                xm_swap(place + high, place + middle);                                                    \
                int64_t i = low, j = high - 1;                                                            \
                for (;; i++, j--) {                                                                       \
                    while (i < high && LESS(place[i], pivot))                                             \
                        i++;                                                                              \
                    while (j >= low && LESS(pivot, place[j]))                                             \
                        j--;                                                                              \
                    if (i >= j)                                                                           \
                        break;                                                                            \
                    xm_swap(place + i, place + j);                                                        \
                }                                                                                         \
                xm_swap(place + i, place + high);                                                         \
                const bool is_right_larger = high - i > i - low;                                          \
                stack[waiting][0] = is_right_larger ? i + 1 : low;                                        \
                stack[waiting][1] = is_right_larger ? high : i - 1;                                       \
                waiting += is_right_larger ? high > i : i > low;                                          \
                if (is_right_larger)                                                                      \
                    high = i - 1;                                                                         \
                else                                                                                      \
                    low = i + 1;                                                                          \
            }                                                                                             \
            for (int64_t i = low + 1; i <= high; i++) {                                                   \
                const int64_t one = place[i];                                                             \
                int64_t j = i;                                                                            \
                for (; j > low && LESS(one, place[j - 1]); j--)                                           \
                    place[j] = place[j - 1];                                                              \
                place[j] = one;                                                                           \
            }                                                                                             \
            if (waiting == 0)                                                                             \
                return;                                                                                   \
            waiting--;                                                                                    \
            low = stack[waiting][0];                                                                      \
            high = stack[waiting][1];                                                                     \
        }                                                                                                 \
    }

#define XM_LESS(a, b) (key[a] < key[b])
#define XM_BEFORE(a, b) (key[a] < key[b] || (key[a] == key[b] && (a) < (b)))

#define XM_BEST_OF(type, array, name, SIGN)                       \
    XM_UNUSED static int64_t xm_arg##name##_of_##type(array keys) \
    {                                                             \
        int64_t best = 0;                                         \
        for (int64_t i = 1; i < keys.n; i++)                      \
            if (keys.at[i] SIGN keys.at[best])                    \
                best = i;                                         \
        return best;                                              \
    }                                                             \
    XM_UNUSED static type xm_##name##_of_##type(array keys)       \
    {                                                             \
        return keys.at[xm_arg##name##_of_##type(keys)];           \
    }

XM_UNUSED static inline void xm_swap(int64_t *one, int64_t *other)
{
    const int64_t before = *one;
    *one = *other;
    *other = before;
}

#define XM_ARRAYS                                                                        \
    XM_SORT(xm_argsort_double_quick, double, xm_double_1, XM_LESS)                       \
    XM_SORT(xm_argsort_int64_t_quick, int64_t, xm_int64_1, XM_LESS)                      \
    XM_SORT(xm_argsort_int64_t_stable, int64_t, xm_int64_1, XM_BEFORE)                   \
    XM_BEST_OF(int64_t, xm_int64_1, max, >)                                              \
    XM_BEST_OF(int64_t, xm_int64_1, min, <)                                              \
    static int xm_compare(const void *one, const void *other)                            \
    {                                                                                    \
        const int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;            \
        return (a > b) - (a < b);                                                        \
    }                                                                                    \
    static void xm_sort_xm_int64_1(xm_int64_1 keys)                                      \
    {                                                                                    \
        qsort(keys.at, (size_t)keys.n, sizeof *keys.at, xm_compare);                     \
    }                                                                                    \
    static void xm_eye(xm_double_2 square)                                               \
    {                                                                                    \
        for (int64_t i = 0; i < square.n * square.m; i++)                                \
            square.at[i] = i % (square.m + 1) == 0;                                      \
    }

#endif
