/* The quantities of a domain build for a group of VMs, in MiB and pages; the kernel takes and gives bytes and pages.
 * Included once by each lanes_*.c, after overhead.h. Source: memory.ml, full_config. */

#define CLAIM_PAGES_PER_MIB 256

static TARGET int build_memory_is_suspicious(const xenmem_columns *vms, size_t begin, size_t end)
{
    uint8_t types = 0;
    for (size_t i = begin; i < end; i++)
        types |= vms->domain_type[i];
    return types >= XENMEM_DOMAIN_TYPES
           || any_bad_amount(any_bits(vms->static_max, begin, end) | any_bits(vms->target, begin, end)
                             | any_bits(vms->video, begin, end));
}

static TARGET size_t build_memory(const xenmem_constants *model, const xenmem_columns *columns, size_t begin,
                                  size_t end)
{
    const xenmem_columns vms = *columns;
    size_t i = begin;
    for (; end - i >= LANES; i += LANES) {
        const whole type = load_types(vms.domain_type + i);
        const real static_max_mib = mib_used(load_amounts(vms.static_max + i));
        const real target_mib = mib_used(load_amounts(vms.target + i));
        const real video_mib = mib_used(load_amounts(vms.video + i));
        const real shim_base_mib = by_type(model->shim_base_mib, type);
        const real full_mib = static_max_mib + shim_base_mib + shim_growth_mib(model, type, static_max_mib);
        const real start_mib = target_mib + shim_base_mib + shim_growth_mib(model, type, target_mib) - video_mib;
        store_mib(vms.build_max + i, full_mib - video_mib);
        store_mib(vms.build_start + i, start_mib);
        store_mib(vms.xen_max + i, full_mib + by_type(model->extra_internal_mib, type));
        store_amounts(vms.claim_pages + i, whole_of(start_mib * CLAIM_PAGES_PER_MIB));
    }
    return i;
}
