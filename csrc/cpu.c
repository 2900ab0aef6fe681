/* Finds the widest instruction set that the processor has and whose registers the operating system saves, and holds the
 * level in force. The level is read once per array call and cached in an atomic: no locks, no constructor. */
#include "cpu.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if XENMEM_HAS_WIDE_LANES
#include <cpuid.h>

enum { LEAF_FEATURES = 1, LEAF_EXTENDED_FEATURES = 7 };
enum { ECX_FMA = 1 << 12, ECX_OSXSAVE = 1 << 27 };
enum { EBX_AVX2 = 1 << 5, EBX_AVX512F = 1 << 16, EBX_AVX512DQ = 1 << 17 };
enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xe6 }; /* XMM and YMM; the same, mask registers and both halves of ZMM */

static unsigned saved_registers(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

xenmem_simd xenmem_simd_supported(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(LEAF_FEATURES, &eax, &ebx, &ecx, &edx) || !(ecx & ECX_OSXSAVE) || !(ecx & ECX_FMA)
        || !__get_cpuid_count(LEAF_EXTENDED_FEATURES, 0, &eax, &ebx, &ecx, &edx))
        return XENMEM_SIMD_SCALAR;
    const unsigned saved = saved_registers();
    if (!(ebx & EBX_AVX2) || (saved & XCR0_YMM) != XCR0_YMM)
        return XENMEM_SIMD_SCALAR;
    if (!(ebx & EBX_AVX512F) || !(ebx & EBX_AVX512DQ) || (saved & XCR0_ZMM) != XCR0_ZMM)
        return XENMEM_SIMD_AVX2;
    return XENMEM_SIMD_AVX512;
}
#else
xenmem_simd xenmem_simd_supported(void)
{
    return XENMEM_SIMD_SCALAR;
}
#endif

enum { NOT_YET_KNOWN = -1 };
static atomic_int level_in_force = NOT_YET_KNOWN;

static int at_most_supported(int level)
{
    const int supported = (int)xenmem_simd_supported();
    return level >= 0 && level < supported ? level : supported;
}

static int level_at_start(void)
{
    static const char *const names[] = {"scalar", "avx2", "avx512"};
    const char *wanted = getenv("XENMEM_SIMD");
    for (int level = XENMEM_SIMD_SCALAR; wanted && level <= XENMEM_SIMD_AVX512; level++)
        if (strcmp(wanted, names[level]) == 0)
            return at_most_supported(level);
    return (int)xenmem_simd_supported();
}

xenmem_simd xenmem_simd_in_force(void)
{
    int level = atomic_load_explicit(&level_in_force, memory_order_relaxed);
    if (level == NOT_YET_KNOWN) {
        const int start = level_at_start();
        /* Another thread may have set a level meanwhile: then that one holds, and level receives it. */
        if (atomic_compare_exchange_strong_explicit(&level_in_force, &level, start, memory_order_relaxed,
                                                    memory_order_relaxed))
            level = start;
    }
    return (xenmem_simd)level;
}

xenmem_simd xenmem_set_simd(xenmem_simd level)
{
    const int now = at_most_supported((int)level);
    atomic_store_explicit(&level_in_force, now, memory_order_relaxed);
    return (xenmem_simd)now;
}
