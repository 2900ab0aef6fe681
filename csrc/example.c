/* Where a scheduler would start: on which of some hosts could a VM start now, and how large could it be there?
 * Amounts are bytes. Needs libxenmem alone: cc example.c $(pkg-config --cflags --libs xenmem) */
#include <inttypes.h>
#include <stdio.h>
#include <xenmem.h>

#define GIB ((int64_t)1 << 30)
#define MIB ((int64_t)1 << 20)
enum { HOSTS = 3, RUNNING = 4 };

/* xapi 26.3 and later */
static const xenmem_model model = {
    .vcpu_shadow_pages = 256,
    .p2m_pages_per_mib = 1,
    .resident_pages_per_mib = 1,
    .min_shadow_mib = 1,
    .xen_pages_per_vcpu = 38,
    .extra_internal_mib = {[XENMEM_HVM] = 1, [XENMEM_PV_IN_PVH] = 1, [XENMEM_PVH] = 1},
    .extra_external_mib = {1, 1, 1, 1},
    .shim_base_mib = {[XENMEM_PV_IN_PVH] = 23},
    .shim_divisor = {[XENMEM_PV_IN_PVH] = 90},
    .required_at_unit_multiplier = {[XENMEM_PV] = 1},
    .has_shadow = {1, 1, 1, 1},
};

static int failed(const char *question, xenmem_status status, const size_t *bad)
{
    if (status != XENMEM_OK)
        fprintf(stderr, "example: %s: status %d at element %zu\n", question, (int)status, *bad);
    return status != XENMEM_OK;
}

int main(void)
{
    size_t bad;

    /* What runs: its memory and overhead, and the row of its host. The last VM is moving from host 0 to host 2. */
    const uint8_t type[RUNNING] = {XENMEM_PV, XENMEM_HVM, XENMEM_PVH, XENMEM_PV_IN_PVH};
    const int64_t memory[RUNNING] = {4 * GIB, 48 * GIB, 32 * GIB, 8 * GIB};
    const int32_t vcpus[RUNNING] = {16, 8, 4, 2};
    const double multiplier[RUNNING] = {1.0, 1.0, 1.0, 4.0};
    const int32_t resident_on[RUNNING] = {0, 0, 1, 0};
    const int32_t scheduled_on[RUNNING] = {-1, -1, -1, 2};
    int64_t overhead[RUNNING];
    xenmem_status status = xenmem_overhead(&model, RUNNING, type, memory, vcpus, multiplier, overhead, &bad);
    if (failed("overhead", status, &bad))
        return 1;

    const int64_t available[HOSTS] = {64 * GIB - 700 * MIB, 64 * GIB - 700 * MIB, 16 * GIB - 500 * MIB};
    int64_t free_memory[HOSTS];
    status = xenmem_free_memory(HOSTS, available, RUNNING, memory, overhead, resident_on, scheduled_on, free_memory,
                                &bad);
    if (failed("free memory", status, &bad))
        return 1;

    /* The VM to start, once for each host. */
    uint8_t new_type[HOSTS];
    int32_t new_vcpus[HOSTS];
    double new_multiplier[HOSTS];
    int64_t new_memory[HOSTS], normal[HOSTS], shadow[HOSTS], largest[HOSTS];
    for (int host = 0; host < HOSTS; host++) {
        new_type[host] = XENMEM_HVM;
        new_vcpus[host] = 4;
        new_multiplier[host] = 1.0;
        new_memory[host] = 8 * GIB;
    }
    status = xenmem_required_memory(&model, HOSTS, new_type, new_memory, new_memory, new_vcpus, new_multiplier, normal,
                                    shadow, &bad);
    if (failed("required memory", status, &bad))
        return 1;
    status = xenmem_maximise_memory(&model, HOSTS, new_type, new_vcpus, new_multiplier, free_memory, largest, &bad);
    if (failed("largest VM", status, &bad))
        return 1;

    for (int host = 0; host < HOSTS; host++) {
        const int64_t required = normal[host] + shadow[host];
        printf("host %d: %" PRId64 " MiB free; a VM of %" PRId64 " MiB needs %" PRId64 " MiB: %s; the largest: %" PRId64
               " MiB\n",
               host, free_memory[host] / MIB, new_memory[host] / MIB, required / MIB,
               required <= free_memory[host] ? "fits" : "does not fit", largest[host] / MIB);
    }
    return 0;
}
