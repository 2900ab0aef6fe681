/* The largest static_max that fits, in closed form, for a group of VMs; reals are MiB.
 * Included once by each lanes_*.c, after overhead.h.
 *
 * The requirement of s MiB under policy static_max, less what does not depend on s, is
 *     F(s) = s + trunc(s / d) + max(min_shadow, trunc(k(s) m)),   k(s) = ceil(w + q s),
 * where d is the shim's divisor, m the multiplier, w the vCPUs' shadow in MiB and q the shadow MiB per MiB of
 * static_max, both whole pages. Wanted is the largest s with F(s) <= B, the budget.
 *
 * For any whole K take s(K) = min(largest s with k(s) <= K,
 *                                 largest s with s + trunc(s / d) <= B - max(min_shadow, trunc(K m))).
 * If s(K) >= 0, it fits, since k(s(K)) <= K. The answer itself is s(K*), where K* is the largest K whose first s,
 * trunc((K - 1 - w) / q) + 1, fits under the shadow K m without the minimum. (The minimum cuts the answer in the second
 * term.) So the answer is the largest s(K) over any set of K that holds K*, or 0 if none is positive.
 *
 * Let x be the solution of G(x) = B for G(K) = (K - 1 - w) / q (1 + 1 / d) + K m, which is what K needs if nothing is
 * truncated. The true need is less than 2 below G(K) (two truncations) and at most 1 + 1 / d above it (the first s is
 * at most 1 larger), and G grows by (1 + 1 / d) / q or more per K. So trunc(x - q) <= K* <= trunc(x + 2 q). As q <= 1/4
 * (XENMEM_MAX_SHADOW_PAGES_PER_MIB), K* is trunc(x + 5/8) or one less, with 1/8 to spare on either side for the
 * rounding of x, which is below 2^30 and off by a few parts in 2^53.
 * A type without shadow is m = 0 and min_shadow = 0.
 * With q = 0, where the first s of K is infinitely far, x = 1 + w, and trunc(x + 5/8) or one less is k(0) = ceil(w). */

/* Largest s with s + trunc(s / d) <= budget: the sums skip one number after every d. The 2^-18 is explained at
 * shim_growth_mib. A negative budget gives a negative s. */
INLINE real without_shim_growth(const xenmem_constants *model, whole type, real budget)
{
    return budget - truncated(times_plus(budget + 1, by_type(model->shim_part_of_both, type), broadcast(0x1p-18)));
}

INLINE real largest_static_max_mib(const xenmem_constants *model, vm_lanes vm, real vcpus_shadow, real budget,
                                   real multiplier, real unscaled_shadow)
{
    const real shadow = multiplied_shadow_mib(model, vm.type, unscaled_shadow, multiplier);
    const real shadowed = times_plus(unscaled_shadow - vcpus_shadow, load_reals(model->mib_per_shadow_mib),
                                     load_reals(model->mib_without_shadow));
    return smaller(truncated(shadowed), without_shim_growth(model, vm.type, budget - shadow));
}

INLINE real maximised_mib(const xenmem_constants *model, vm_lanes vm, real total_mib)
{
    const real budget = total_mib - fixed_mib(model, vm);
    const real multiplier = required_multiplier(model, vm) * by_type(model->has_shadow, vm.type);
    const real vcpus_shadow = vm.vcpus_max * load_reals(model->shadow_mib_per_vcpu);
    const real growth = by_type(model->shim_mib_per_mib, vm.type) + 1;
    const real estimate = (budget * load_reals(model->shadow_mib_per_mib) + (vcpus_shadow + 1) * growth)
                          / (growth + multiplier * load_reals(model->shadow_mib_per_mib));
    const real upper = truncated(estimate + 0.625);
    return larger(larger(largest_static_max_mib(model, vm, vcpus_shadow, budget, multiplier, upper),
                         largest_static_max_mib(model, vm, vcpus_shadow, budget, multiplier, upper - 1)),
                  broadcast(0));
}

static TARGET int maximise_memory_is_suspicious(const xenmem_columns *vms, size_t begin, size_t end)
{
    return any_bad_vm(vms->domain_type, vms->vcpus_max, vms->shadow_multiplier, vms->total, begin, end);
}

static TARGET size_t maximise_memory(const xenmem_constants *model, const xenmem_columns *columns, size_t begin,
                                     size_t end)
{
    const xenmem_columns vms = *columns;
    size_t i = begin;
    for (; end - i >= LANES; i += LANES)
        store_mib(vms.maximised + i,
                  maximised_mib(model, load_vms(&vms, i), mib_free(load_amounts(vms.total + i))));
    return i;
}
