/* What the files of csrc share: the checked model in the form that the formulas use, the columns of a call, and the
 * kernels of one instruction set. Internal to the library; no instruction set is named here.
 * Reals are MiB, or MiB per unit: every one of them below is a whole number of pages or a reciprocal. */
#ifndef XENMEM_KERNELS_H
#define XENMEM_KERNELS_H

#include "cpu.h"

#if defined(__GNUC__)
#define XENMEM_INTERNAL __attribute__((visibility("hidden")))
#else
#define XENMEM_INTERNAL
#endif

#define XENMEM_PART_MIB (255.0 / 256.0) /* makes truncation to MiB round whole pages up */

enum { XENMEM_MAX_LANES = 8 };

/* The same number for each lane: an operand in memory, because the formulas have more constants than AVX2 registers. */
typedef double xenmem_repeated[XENMEM_MAX_LANES];

typedef struct xenmem_constants {
    xenmem_repeated shadow_mib_per_vcpu;
    xenmem_repeated shadow_mib_per_mib;
    xenmem_repeated min_shadow_mib;
    xenmem_repeated xen_mib_per_vcpu;
    /* static_max per shadow, and a trifle that the truncation of their product needs; where static_max takes no shadow,
     * numbers that give more than any static_max for no shadow and less than 0 for less than none */
    xenmem_repeated mib_per_shadow_mib, mib_without_shadow;
    double fixed_mib_and_part[XENMEM_DOMAIN_TYPES];  /* extra internal + extra external + shim base; and 255/256 MiB */
    double extra_internal_mib[XENMEM_DOMAIN_TYPES];
    double shim_base_mib[XENMEM_DOMAIN_TYPES];
    double shim_mib_per_mib[XENMEM_DOMAIN_TYPES];    /* 1 / divisor, 0 where the shim does not grow */
    double shim_part_of_both[XENMEM_DOMAIN_TYPES];   /* 1 / (divisor + 1), 0 where the shim does not grow */
    double own_multiplier[XENMEM_DOMAIN_TYPES];      /* +1, or -1 where required memory ignores the VM's multiplier */
    double has_shadow[XENMEM_DOMAIN_TYPES];          /* 1 or 0: a factor */
} xenmem_constants;

/* The columns of a call. A function leaves the inputs that it does not take NULL. */
typedef struct xenmem_columns {
    const uint8_t *domain_type;
    const int64_t *static_max;
    const int64_t *target;
    const int32_t *vcpus_max;
    const double *shadow_multiplier;
    const int64_t *total;
    const int64_t *video;
    int64_t *overhead;
    int64_t *normal, *shadow;
    int64_t *maximised;
    int64_t *build_max, *build_start, *xen_max, *claim_pages;
} xenmem_columns;

typedef enum xenmem_formula {
    XENMEM_OVERHEAD,
    XENMEM_REQUIRED_MEMORY,
    XENMEM_MAXIMISE_MEMORY,
    XENMEM_BUILD_MEMORY,
    XENMEM_FORMULAS
} xenmem_formula;

typedef struct xenmem_kernel {
    /* 0 if all inputs of rows begin..end are valid. Anything else may be a false alarm, in rare cases. */
    int (*is_suspicious)(const xenmem_columns *vms, size_t begin, size_t end);
    /* Computes rows begin..end, all of them valid, in whole groups of lanes; returns the first row left over. */
    size_t (*compute)(const xenmem_constants *model, const xenmem_columns *vms, size_t begin, size_t end);
} xenmem_kernel;

typedef xenmem_kernel xenmem_kernels[XENMEM_FORMULAS];

extern XENMEM_INTERNAL const xenmem_kernels xenmem_kernels_scalar;
#if XENMEM_HAS_WIDE_LANES
extern XENMEM_INTERNAL const xenmem_kernels xenmem_kernels_avx2;
extern XENMEM_INTERNAL const xenmem_kernels xenmem_kernels_avx512;
#endif

#endif
