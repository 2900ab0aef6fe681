/* Where a scheduler would start: on which of some hosts could a VM start now, and how large could it be there?
 * Amounts are bytes. Needs libxenmem alone: cc example.c $(pkg-config --cflags --libs xenmem) -o example */
#include <inttypes.h>
#include <stdio.h>
#include <xenmem.h>
#include <xenmem_inline.h>

#define GIB ((int64_t)1 << 30)
#define MIB ((int64_t)1 << 20)
enum { HOSTS = 3, RUNNING = 4 };

static int failed(const char *question, xenmem_status status, const size_t *bad)
{
    if (status != XENMEM_OK)
        fprintf(stderr, "example: %s: element %zu: %s\n", question, *bad, xenmem_status_text(status));
    return status != XENMEM_OK;
}

int main(void)
{
    size_t bad;
    const xenmem_model *const model = xenmem_model_for("xcp-ng-9");

    /* What runs: its memory and overhead, and the row of its host. The last VM is moving from host 0 to host 2. */
    const uint8_t type[RUNNING] = {XENMEM_PV, XENMEM_HVM, XENMEM_PVH, XENMEM_PV_IN_PVH};
    const int64_t memory[RUNNING] = {4 * GIB, 48 * GIB, 32 * GIB, 8 * GIB};
    const int32_t vcpus[RUNNING] = {16, 8, 4, 2};
    const double multiplier[RUNNING] = {1.0, 1.0, 1.0, 4.0};
    const int32_t resident_on[RUNNING] = {0, 0, 1, 0};
    const int32_t scheduled_on[RUNNING] = {-1, -1, -1, 2};
    int64_t overhead[RUNNING];
    xenmem_status status = xenmem_overhead(model, RUNNING, type, memory, vcpus, multiplier, overhead, &bad);
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
    status = xenmem_required_memory(model, HOSTS, new_type, new_memory, new_memory, new_vcpus, new_multiplier, normal,
                                    shadow, &bad);
    if (failed("required memory", status, &bad))
        return 1;
    status = xenmem_maximise_memory(model, HOSTS, new_type, new_vcpus, new_multiplier, free_memory, largest, &bad);
    if (failed("largest VM", status, &bad))
        return 1;

    for (int host = 0; host < HOSTS; host++) {
        const int64_t required = normal[host] + shadow[host];
        printf("host %d: %" PRId64 " MiB free; a VM of %" PRId64 " MiB needs %" PRId64 " MiB: %s; the largest: %" PRId64
               " MiB\n",
               host, free_memory[host] / MIB, new_memory[host] / MIB, required / MIB,
               required <= free_memory[host] ? "fits" : "does not fit", largest[host] / MIB);
    }

    /* From now on the scheduler keeps what is left by itself, with what xenmem_inline.h compiles into its loop. */
    int64_t left[HOSTS], amount = new_memory[0] + xenmem_one_overhead(model, XENMEM_HVM, new_memory[0], 4, 1.0);
    int64_t next_amount = amount, needed = normal[0] + shadow[0], journal[8 * 5], length = 0;
    int32_t on = -1;
    for (int host = 0; host < HOSTS; host++)
        left[host] = free_memory[host];
    const xenmem_accounts kept = {{left, HOSTS}, {&on, 1}, {&amount, 1}, {&next_amount, 1}, {&needed, 1},
                                  {journal, 8, 5}, {&length, 1}};
    for (int host = 0; host < HOSTS; host++)
        if (xenmem_accounts_fits(kept, 0, host) && xenmem_accounts_start(kept, 0, host))
            printf("started on host %d, which has %" PRId64 " MiB left\n", host, left[host] / MIB);
    xenmem_accounts_rollback(kept, 0);
    printf("taken back: host 1 has %" PRId64 " MiB left\n", left[1] / MIB);
    return 0;
}
