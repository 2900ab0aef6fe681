/* The public array functions of VMs: checks the model, brings its constants into the form that the formulas use, and
 * walks the rows in blocks with the kernel of the instruction set in force. Bytes in, bytes out; no formula is here. */
#include "kernels.h"

#define PAGES_PER_MIB 256.0

/* Checked, then computed; a multiple of XENMEM_MAX_LANES. Measured: the starts of the loops show at 64, and from 512 on
 * the outputs drive the inputs out of the first-level cache. */
enum { BLOCK_ROWS = 128 };

static int is_valid(const xenmem_model *model)
{
    const int64_t scalars[] = {model->vcpu_shadow_pages, model->p2m_pages_per_mib, model->resident_pages_per_mib,
                               model->min_shadow_mib, model->xen_pages_per_vcpu};
    for (size_t i = 0; i < sizeof scalars / sizeof scalars[0]; i++)
        if (scalars[i] < 0 || scalars[i] > XENMEM_MAX_MODEL_CONSTANT)
            return 0;
    for (size_t type = 0; type < XENMEM_DOMAIN_TYPES; type++) {
        const int64_t by_type[] = {model->extra_internal_mib[type], model->extra_external_mib[type],
                                   model->shim_base_mib[type], model->shim_divisor[type]};
        for (size_t i = 0; i < sizeof by_type / sizeof by_type[0]; i++)
            if (by_type[i] < 0 || by_type[i] > XENMEM_MAX_MODEL_CONSTANT)
                return 0;
        if (model->required_at_unit_multiplier[type] != 0 && model->required_at_unit_multiplier[type] != 1)
            return 0;
        if (model->has_shadow[type] != 0 && model->has_shadow[type] != 1)
            return 0;
    }
    return model->p2m_pages_per_mib + model->resident_pages_per_mib <= XENMEM_MAX_SHADOW_PAGES_PER_MIB;
}

static void repeat(double number, xenmem_repeated out)
{
    for (size_t lane = 0; lane < XENMEM_MAX_LANES; lane++)
        out[lane] = number;
}

static xenmem_constants constants_of(const xenmem_model *model)
{
    const double shadow_pages_per_mib = (double)(model->p2m_pages_per_mib + model->resident_pages_per_mib);
    xenmem_constants constants;
    repeat((double)model->vcpu_shadow_pages / PAGES_PER_MIB, constants.shadow_mib_per_vcpu);
    repeat(shadow_pages_per_mib / PAGES_PER_MIB, constants.shadow_mib_per_mib);
    repeat((double)model->min_shadow_mib, constants.min_shadow_mib);
    repeat((double)model->xen_pages_per_vcpu / PAGES_PER_MIB, constants.xen_mib_per_vcpu);
    repeat(shadow_pages_per_mib > 0 ? PAGES_PER_MIB / shadow_pages_per_mib : 0x1p60, constants.mib_per_shadow_mib);
    repeat(shadow_pages_per_mib > 0 ? 0x1p-8 : 0x1p40, constants.mib_without_shadow);
    for (size_t type = 0; type < XENMEM_DOMAIN_TYPES; type++) {
        const double divisor = (double)model->shim_divisor[type];
        const int64_t fixed = model->extra_internal_mib[type] + model->extra_external_mib[type]
                              + model->shim_base_mib[type];
        constants.fixed_mib_and_part[type] = (double)fixed + XENMEM_PART_MIB;
        constants.extra_internal_mib[type] = (double)model->extra_internal_mib[type];
        constants.shim_base_mib[type] = (double)model->shim_base_mib[type];
        constants.shim_mib_per_mib[type] = divisor > 0 ? 1 / divisor : 0;
        constants.shim_part_of_both[type] = divisor > 0 ? 1 / (divisor + 1) : 0;
        constants.own_multiplier[type] = model->required_at_unit_multiplier[type] ? -1 : 1;
        constants.has_shadow[type] = (double)model->has_shadow[type];
    }
    return constants;
}

static const xenmem_kernels *kernels_in_force(void)
{
#if XENMEM_HAS_WIDE_LANES
    switch (xenmem_simd_in_force()) {
    case XENMEM_SIMD_AVX512:
        return &xenmem_kernels_avx512;
    case XENMEM_SIMD_AVX2:
        return &xenmem_kernels_avx2;
    case XENMEM_SIMD_SCALAR:
        break;
    }
#endif
    return &xenmem_kernels_scalar;
}

static int is_amount(int64_t bytes)
{
    return bytes >= 0 && bytes <= XENMEM_MAX_BYTES;
}

/* What is wrong with a row, in the order of the parameters. */
static xenmem_status status_of(const xenmem_columns *columns, size_t row)
{
    if (columns->domain_type[row] >= XENMEM_DOMAIN_TYPES)
        return XENMEM_BAD_DOMAIN_TYPE;
    if (columns->static_max && !is_amount(columns->static_max[row]))
        return XENMEM_BAD_STATIC_MAX;
    if (columns->target && !is_amount(columns->target[row]))
        return XENMEM_BAD_TARGET;
    if (columns->vcpus_max && (columns->vcpus_max[row] < 0 || columns->vcpus_max[row] > XENMEM_MAX_VCPUS))
        return XENMEM_BAD_VCPUS_MAX;
    if (columns->shadow_multiplier
        && !(columns->shadow_multiplier[row] >= 0 && columns->shadow_multiplier[row] <= XENMEM_MAX_SHADOW_MULTIPLIER))
        return XENMEM_BAD_SHADOW_MULTIPLIER;
    if (columns->total && !is_amount(columns->total[row]))
        return XENMEM_BAD_TOTAL;
    if (columns->video && !is_amount(columns->video[row]))
        return XENMEM_BAD_VIDEO;
    return XENMEM_OK;
}

static xenmem_status run(xenmem_formula formula, const xenmem_model *model, const xenmem_columns *columns, size_t n,
                         size_t *bad)
{
    *bad = 0;
    if (!is_valid(model))
        return XENMEM_BAD_MODEL;
    const xenmem_constants constants = constants_of(model);
    const xenmem_kernel *kernel = &(*kernels_in_force())[formula];
    for (size_t begin = 0; begin < n; begin += BLOCK_ROWS) {
        const size_t end = n - begin > BLOCK_ROWS ? begin + BLOCK_ROWS : n;
        if (kernel->is_suspicious(columns, begin, end))
            for (size_t row = begin; row < end; row++) {
                const xenmem_status status = status_of(columns, row);
                if (status != XENMEM_OK) {
                    *bad = row;
                    return status;
                }
            }
        const size_t left_over = kernel->compute(&constants, columns, begin, end);
        xenmem_kernels_scalar[formula].compute(&constants, columns, left_over, end);
    }
    return XENMEM_OK;
}

xenmem_status xenmem_overhead(const xenmem_model *model, size_t n, const uint8_t *domain_type,
                              const int64_t *static_max, const int32_t *vcpus_max, const double *shadow_multiplier,
                              int64_t *out, size_t *bad)
{
    const xenmem_columns columns = {.domain_type = domain_type,
                                    .static_max = static_max,
                                    .vcpus_max = vcpus_max,
                                    .shadow_multiplier = shadow_multiplier,
                                    .overhead = out};
    return run(XENMEM_OVERHEAD, model, &columns, n, bad);
}

xenmem_status xenmem_required_memory(const xenmem_model *model, size_t n, const uint8_t *domain_type,
                                     const int64_t *static_max, const int64_t *target, const int32_t *vcpus_max,
                                     const double *shadow_multiplier, int64_t *normal, int64_t *shadow, size_t *bad)
{
    const xenmem_columns columns = {.domain_type = domain_type,
                                    .static_max = static_max,
                                    .target = target,
                                    .vcpus_max = vcpus_max,
                                    .shadow_multiplier = shadow_multiplier,
                                    .normal = normal,
                                    .shadow = shadow};
    return run(XENMEM_REQUIRED_MEMORY, model, &columns, n, bad);
}

xenmem_status xenmem_maximise_memory(const xenmem_model *model, size_t n, const uint8_t *domain_type,
                                     const int32_t *vcpus_max, const double *shadow_multiplier, const int64_t *total,
                                     int64_t *out, size_t *bad)
{
    const xenmem_columns columns = {.domain_type = domain_type,
                                    .vcpus_max = vcpus_max,
                                    .shadow_multiplier = shadow_multiplier,
                                    .total = total,
                                    .maximised = out};
    return run(XENMEM_MAXIMISE_MEMORY, model, &columns, n, bad);
}

xenmem_status xenmem_build_memory(const xenmem_model *model, size_t n, const uint8_t *domain_type,
                                  const int64_t *static_max, const int64_t *target, const int64_t *video,
                                  int64_t *build_max, int64_t *build_start, int64_t *xen_max, int64_t *claim_pages,
                                  size_t *bad)
{
    const xenmem_columns columns = {.domain_type = domain_type,
                                    .static_max = static_max,
                                    .target = target,
                                    .video = video,
                                    .build_max = build_max,
                                    .build_start = build_start,
                                    .xen_max = xen_max,
                                    .claim_pages = claim_pages};
    return run(XENMEM_BUILD_MEMORY, model, &columns, n, bad);
}

const char *xenmem_version(void)
{
    return XENMEM_VERSION;
}
