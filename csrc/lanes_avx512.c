/* The kernels for eight VMs at a time with AVX-512 F and DQ.
 * Compiled without flags of its own: lanes.h marks the functions for the instruction set. Only xenmem.c calls these,
 * and only where cpu.c says that the machine can run them. */
#include "kernels.h"

#if XENMEM_HAS_WIDE_LANES
#define XENMEM_LANES 8
#include "lanes.h"
#include "checks.h"
#include "overhead.h"
#include "maximise.h"
#include "build.h"

const xenmem_kernels xenmem_kernels_avx512 = {
    [XENMEM_OVERHEAD] = {overhead_is_suspicious, overhead},
    [XENMEM_REQUIRED_MEMORY] = {required_memory_is_suspicious, required_memory},
    [XENMEM_MAXIMISE_MEMORY] = {maximise_memory_is_suspicious, maximise_memory},
    [XENMEM_BUILD_MEMORY] = {build_memory_is_suspicious, build_memory},
};
#endif
