/* xenmem: the memory arithmetic of xapi over arrays of VMs.
 *
 * This header is the contract of libxenmem and of the Python extension, whose declarations are cut out between the two
 * marker comments below. Amounts are bytes unless a name ends in _mib or _pages; 1 page = 4096 bytes, 1 MiB = 256 pages.
 * Arrays are contiguous and naturally aligned. No function allocates, prints, blocks or keeps a pointer; all are
 * thread-safe, so a caller may split its arrays over threads. Nothing here depends on Python.
 *
 * Every function checks its inputs while it computes. It returns XENMEM_OK, or the code that names the first bad
 * argument of the first bad element, whose index it stores in *bad; the outputs are then undefined. Of several bad
 * arguments of one element, the first in the order of the parameters counts; xenmem_free_memory checks all hosts before
 * the VMs.
 * The valid domain: amounts 0..XENMEM_MAX_BYTES, VCPUs_max 0..XENMEM_MAX_VCPUS, shadow multipliers 0..1024 (NaN is bad).
 *
 * Source of the formulas: xapi-project/xen-api, ocaml/xapi-idl/memory/memory.ml, ocaml/xapi/memory_check.ml and
 * ocaml/xapi/xapi_vm.ml.
 */
#ifndef XENMEM_H
#define XENMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XENMEM_VERSION "0.1.0"

/* cdef: begin */
#define XENMEM_MAX_BYTES 1125899906842624 /* 2^50, 1 PiB */
#define XENMEM_MAX_VCPUS 65535
#define XENMEM_MAX_SHADOW_MULTIPLIER 1024
#define XENMEM_MAX_MODEL_CONSTANT 65536
#define XENMEM_MAX_SHADOW_PAGES_PER_MIB 64 /* p2m and resident shadow together */
#define XENMEM_DOMAIN_TYPES 4

typedef enum xenmem_domain_type { XENMEM_HVM, XENMEM_PV, XENMEM_PV_IN_PVH, XENMEM_PVH } xenmem_domain_type;

typedef enum xenmem_status {
    XENMEM_OK,
    XENMEM_BAD_MODEL,
    XENMEM_BAD_DOMAIN_TYPE,
    XENMEM_BAD_STATIC_MAX,
    XENMEM_BAD_TARGET,
    XENMEM_BAD_VCPUS_MAX,
    XENMEM_BAD_SHADOW_MULTIPLIER,
    XENMEM_BAD_TOTAL,
    XENMEM_BAD_VIDEO,
    XENMEM_BAD_AVAILABLE,
    XENMEM_BAD_MEMORY,
    XENMEM_BAD_OVERHEAD,
    XENMEM_BAD_RESIDENT_ON,
    XENMEM_BAD_SCHEDULED_ON
} xenmem_status;

typedef enum xenmem_simd { XENMEM_SIMD_SCALAR, XENMEM_SIMD_AVX2, XENMEM_SIMD_AVX512 } xenmem_simd;

/* The constants of one xapi version. Arrays are indexed by xenmem_domain_type.
 * Every constant is 0..XENMEM_MAX_MODEL_CONSTANT; a shim_divisor of 0 means that the shim does not grow. The two pages
 * per MiB add up to at most XENMEM_MAX_SHADOW_PAGES_PER_MIB, which the closed form of xenmem_maximise_memory rests on.
 * Any other model is XENMEM_BAD_MODEL, for n = 0 as well. */
typedef struct xenmem_model {
    int64_t vcpu_shadow_pages;       /* shadow pages per vCPU */
    int64_t p2m_pages_per_mib;       /* shadow pages per MiB of static_max: the p2m map */
    int64_t resident_pages_per_mib;  /* shadow pages per MiB of static_max: the resident shadow */
    int64_t min_shadow_mib;
    int64_t xen_pages_per_vcpu;      /* hypervisor structures beside the shadow */
    int64_t extra_internal_mib[XENMEM_DOMAIN_TYPES];
    int64_t extra_external_mib[XENMEM_DOMAIN_TYPES];
    int64_t shim_base_mib[XENMEM_DOMAIN_TYPES];
    int64_t shim_divisor[XENMEM_DOMAIN_TYPES];
    int64_t required_at_unit_multiplier[XENMEM_DOMAIN_TYPES]; /* 0 or 1; 1: required memory ignores the VM's multiplier */
    int64_t has_shadow[XENMEM_DOMAIN_TYPES];                  /* 0 or 1; 0: no shadow at all, of vCPUs neither */
} xenmem_model;

/* Memory overhead of n VMs: what VM.compute_memory_overhead answers.
 *   domain_type[n]        xenmem_domain_type
 *   static_max[n]         bytes
 *   out[n]                bytes, whole MiB; may be static_max itself, no other overlap */
xenmem_status xenmem_overhead(const xenmem_model *model, size_t n, const uint8_t *domain_type,
                              const int64_t *static_max, const int32_t *vcpus_max, const double *shadow_multiplier,
                              int64_t *out, size_t *bad);

/* Memory required to start n VMs that are to be given target bytes each; the requirement is normal + shadow.
 *   normal[n], shadow[n]  bytes, whole MiB; either may be static_max or target itself, no other overlap */
xenmem_status xenmem_required_memory(const xenmem_model *model, size_t n, const uint8_t *domain_type,
                                     const int64_t *static_max, const int64_t *target, const int32_t *vcpus_max,
                                     const double *shadow_multiplier, int64_t *normal, int64_t *shadow, size_t *bad);

/* The largest static_max, in whole MiB, whose requirement under policy static_max is at most total; 0 if nothing fits.
 *   total[n]              bytes
 *   out[n]                bytes; may be total itself, no other overlap */
xenmem_status xenmem_maximise_memory(const xenmem_model *model, size_t n, const uint8_t *domain_type,
                                     const int32_t *vcpus_max, const double *shadow_multiplier, const int64_t *total,
                                     int64_t *out, size_t *bad);

/* The quantities of a domain build.
 *   video[n]              bytes of video RAM, rounded up to MiB
 *   build_max[n], build_start[n], xen_max[n]  bytes; the first two are negative when video exceeds the guest's memory
 *   claim_pages[n]        pages; the outputs overlap neither an input nor each other */
xenmem_status xenmem_build_memory(const xenmem_model *model, size_t n, const uint8_t *domain_type,
                                  const int64_t *static_max, const int64_t *target, const int64_t *video,
                                  int64_t *build_max, int64_t *build_start, int64_t *xen_max, int64_t *claim_pages,
                                  size_t *bad);

/* Adds memory + overhead of n VMs to used[hosts], at the host each is resident on and at the host it is scheduled on.
 *   memory[n], overhead[n]                 bytes
 *   resident_on[n], scheduled_on[n]        row of the host, -1 for none; the same host in both counts twice
 *   used[hosts]           bytes, not cleared here; a sum stops at 4 * XENMEM_MAX_BYTES instead of overflowing, so that
 *                         the sums of up to 2^10 calls can be added up. Must hold 0..4 * XENMEM_MAX_BYTES on entry. */
xenmem_status xenmem_used_memory(size_t n, const int64_t *memory, const int64_t *overhead, const int32_t *resident_on,
                                 const int32_t *scheduled_on, size_t hosts, int64_t *used, size_t *bad);

/* Free memory of hosts: max(0, available - used of the VMs on it), exact for any number of VMs.
 *   available[hosts]      bytes, memory_total - host overhead, -XENMEM_MAX_BYTES..XENMEM_MAX_BYTES
 *   out[hosts]            bytes; overlaps no input */
xenmem_status xenmem_free_memory(size_t hosts, const int64_t *available, size_t n, const int64_t *memory,
                                 const int64_t *overhead, const int32_t *resident_on, const int32_t *scheduled_on,
                                 int64_t *out, size_t *bad);

/* Which instruction set the array functions use: plain C, AVX2 with FMA, or AVX-512 F and DQ. The process starts with the
 * widest that the machine and its operating system support, or with XENMEM_SIMD=scalar|avx2|avx512 of the environment
 * where that is narrower; another value counts as none, and the environment is read at the first use.
 * xenmem_set_simd returns the level now in force: the one asked for, or the widest supported below it. */
xenmem_simd xenmem_simd_supported(void);
xenmem_simd xenmem_simd_in_force(void);
xenmem_simd xenmem_set_simd(xenmem_simd level);

/* XENMEM_VERSION of the library that runs, the same as the Python package's. */
const char *xenmem_version(void);
/* cdef: end */

/* The model of a xapi of this version ("26.4.0", "1.249.41") or of a product ("xcp-ng-8.3", "xenserver-9"), or one by its
 * name ("26.3", "pre-26.3", "pre-8.1", "pre-6.0"); NULL if it is none of these. Static: nobody has to free it. */
const xenmem_model *xenmem_model_for(const char *version);

/* What a status says, in English, such as "static_max: out of range"; "" for XENMEM_OK. */
const char *xenmem_status_text(xenmem_status status);

#ifdef __cplusplus
}
#endif

#endif
