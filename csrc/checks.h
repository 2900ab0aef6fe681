/* Are all inputs of some rows valid? Plain C, which the compiler vectorises: far fewer operations per VM than a check
 * within the formulas, and the rows are in the cache when the formulas come to them.
 * Included once by each lanes_*.c, after lanes.h. The or of some numbers is at least the largest of them: nothing bad
 * is missed. There are false alarms, from XENMEM_MAX_BYTES beside anything else and from a multiplier of -0.0. */

INLINE uint64_t any_bits(const int64_t *amounts, size_t begin, size_t end)
{
    uint64_t bits = 0;
    for (size_t i = begin; i < end; i++)
        bits |= (uint64_t)amounts[i];
    return bits;
}

INLINE int any_bad_amount(uint64_t bits) { return bits > XENMEM_MAX_BYTES; }

INLINE int any_bad_vm(const uint8_t *domain_type, const int32_t *vcpus_max, const double *shadow_multiplier,
                      const int64_t *amounts, size_t begin, size_t end)
{
    const double max_multiplier = XENMEM_MAX_SHADOW_MULTIPLIER;
    uint64_t max_bits;
    memcpy(&max_bits, &max_multiplier, sizeof max_bits);
    uint8_t types = 0;
    uint32_t vcpus = 0;
    uint64_t bytes = 0;
    uint64_t out_of_order = 0; /* the sign bit: the bits of 0..max_multiplier have the order of their values */
    for (size_t i = begin; i < end; i++) {
        uint64_t bits;
        memcpy(&bits, &shadow_multiplier[i], sizeof bits);
        out_of_order |= bits | (max_bits - bits);
        bytes |= (uint64_t)amounts[i];
        vcpus |= (uint32_t)vcpus_max[i];
        types |= domain_type[i];
    }
    return types >= XENMEM_DOMAIN_TYPES || vcpus > XENMEM_MAX_VCPUS || out_of_order >> 63 || any_bad_amount(bytes);
}
