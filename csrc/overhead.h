/* Overhead and required memory of a group of VMs, in MiB; the kernels take and give bytes.
 * Included once by each lanes_*.c, after lanes.h and checks.h. The formulas are those of xapi's memory.ml. All their
 * terms are whole pages below 2^43 MiB, so double arithmetic is exact but for the one product that xapi rounds as well,
 * shadow times multiplier, and for the shim's quotient, which is explained below. */

#define MIB_SHIFT 20

typedef struct vm_lanes {
    whole type;
    real vcpus_max;
    real multiplier;
} vm_lanes;

INLINE vm_lanes load_vms(const xenmem_columns *vms, size_t at)
{
    return (vm_lanes){load_types(vms->domain_type + at), load_vcpus(vms->vcpus_max + at),
                      load_reals(vms->shadow_multiplier + at)};
}

INLINE real mib_used(whole bytes) { return truncated(mib_plus(bytes, 1 - 0x1p-20)); }
INLINE real mib_free(whole bytes) { return truncated(mib_plus(bytes, 0)); }
INLINE void store_mib(int64_t *at, real mib) { store_amounts(at, shifted_whole_of(mib, MIB_SHIFT)); }

INLINE real multiplied_shadow_mib(const xenmem_constants *model, whole type, real unscaled_mib, real multiplier)
{
    return larger(truncated(unscaled_mib * multiplier), load_reals(model->min_shadow_mib))
           * by_type(model->has_shadow, type);
}

INLINE real shadow_mib(const xenmem_constants *model, vm_lanes vm, real multiplier, real static_max_mib)
{
    const real vcpus_shadow =
        times_plus(vm.vcpus_max, load_reals(model->shadow_mib_per_vcpu), broadcast(XENMEM_PART_MIB));
    const real unscaled = truncated(times_plus(static_max_mib, load_reals(model->shadow_mib_per_mib), vcpus_shadow));
    return multiplied_shadow_mib(model, vm.type, unscaled, multiplier);
}

/* Extras, base of the shim and hypervisor structures: what does not depend on static_max. */
INLINE real fixed_mib(const xenmem_constants *model, vm_lanes vm)
{
    return truncated(times_plus(vm.vcpus_max, load_reals(model->xen_mib_per_vcpu),
                                by_type(model->fixed_mib_and_part, vm.type)));
}

/* What required memory takes in the place of the VM's multiplier. */
INLINE real required_multiplier(const xenmem_constants *model, vm_lanes vm)
{
    return if_negative(by_type(model->own_multiplier, vm.type), broadcast(1.0), vm.multiplier);
}

/* mib / divisor, truncated. A quotient that is not whole is at least 1 / divisor >= 2^-16 below the next whole number;
 * its rounding, below 2^-22 for mib <= 2^30, is far less than the 2^-18 that lifts it. */
INLINE real shim_growth_mib(const xenmem_constants *model, whole type, real mib)
{
    return truncated(times_plus(mib, by_type(model->shim_mib_per_mib, type), broadcast(0x1p-18)));
}

static TARGET int overhead_is_suspicious(const xenmem_columns *vms, size_t begin, size_t end)
{
    return any_bad_vm(vms->domain_type, vms->vcpus_max, vms->shadow_multiplier, vms->static_max, begin, end);
}

static TARGET size_t overhead(const xenmem_constants *model, const xenmem_columns *columns, size_t begin, size_t end)
{
    const xenmem_columns vms = *columns;
    size_t i = begin;
    for (; end - i >= LANES; i += LANES) {
        const vm_lanes vm = load_vms(&vms, i);
        const real static_max_mib = mib_used(load_amounts(vms.static_max + i));
        store_mib(vms.overhead + i, fixed_mib(model, vm) + shim_growth_mib(model, vm.type, static_max_mib)
                                         + shadow_mib(model, vm, vm.multiplier, static_max_mib));
    }
    return i;
}

static TARGET int required_memory_is_suspicious(const xenmem_columns *vms, size_t begin, size_t end)
{
    return any_bad_amount(any_bits(vms->target, begin, end))
           || any_bad_vm(vms->domain_type, vms->vcpus_max, vms->shadow_multiplier, vms->static_max, begin, end);
}

static TARGET size_t required_memory(const xenmem_constants *model, const xenmem_columns *columns, size_t begin,
                                     size_t end)
{
    const xenmem_columns vms = *columns;
    size_t i = begin;
    for (; end - i >= LANES; i += LANES) {
        const vm_lanes vm = load_vms(&vms, i);
        const real static_max_mib = mib_used(load_amounts(vms.static_max + i));
        const real target_mib = mib_used(load_amounts(vms.target + i));
        store_mib(vms.normal + i, fixed_mib(model, vm) + shim_growth_mib(model, vm.type, static_max_mib) + target_mib);
        store_mib(vms.shadow + i, shadow_mib(model, vm, required_multiplier(model, vm), static_max_mib));
    }
    return i;
}
