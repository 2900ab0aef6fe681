/* Which instruction set the array functions run with. No other file reads CPUID or the environment.
 * XENMEM_HAS_WIDE_LANES is 1 where the AVX2 and AVX-512 variants can be compiled (GCC or Clang on x86-64); elsewhere
 * only the scalar variant exists, and the two files of the wide ones compile to nothing. */
#ifndef XENMEM_CPU_H
#define XENMEM_CPU_H

#include "xenmem.h"

#if defined(__GNUC__) && defined(__x86_64__) && defined(__LP64__)
#define XENMEM_HAS_WIDE_LANES 1
#else
#define XENMEM_HAS_WIDE_LANES 0
#endif

#endif
