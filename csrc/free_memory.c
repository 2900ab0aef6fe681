/* Used and free memory of hosts: a sum per host over the VMs on it, in bytes, saturating. Knows nothing of the model.
 * The additions go to random hosts, one at a time on any instruction set, so this file has no wide variants: the checks
 * that come before are simple enough for the compiler to vectorise. */
#include "kernels.h"

#define MAX_USED (4 * (int64_t)XENMEM_MAX_BYTES)
#define MAX_GROWTH (INT64_MAX - MAX_USED)
enum { BLOCK_VMS = 64 }; /* checked, then added. Measured: 32 to 64 are best, 512 takes half as long again */
enum { AHEAD_VMS = 1024 }; /* measured: saves a quarter of the time where the input is in memory */

typedef struct placed_vms {
    const int64_t *memory;
    const int64_t *overhead;
    const int32_t *resident_on;
    const int32_t *scheduled_on;
} placed_vms;

/* Asks for the cache lines of rows begin..end of a column: the processor's own foresight is lost between the walks of
 * the checks and of the additions over the same columns. */
static void fetch(const void *column, size_t bytes_per_row, size_t begin, size_t end)
{
#if defined(__GNUC__)
    enum { CACHE_LINE = 64 };
    for (size_t at = begin * bytes_per_row; at < end * bytes_per_row; at += CACHE_LINE)
        __builtin_prefetch((const char *)column + at);
#else
    (void)column, (void)bytes_per_row, (void)begin, (void)end;
#endif
}

static int is_amount(int64_t bytes)
{
    return bytes >= 0 && bytes <= XENMEM_MAX_BYTES;
}

static xenmem_status first_bad_placed(const placed_vms *vms, size_t begin, size_t end, int32_t last_host, size_t *bad)
{
    for (size_t i = begin; i < end; i++) {
        *bad = i;
        if (!is_amount(vms->memory[i]))
            return XENMEM_BAD_MEMORY;
        if (!is_amount(vms->overhead[i]))
            return XENMEM_BAD_OVERHEAD;
        if (vms->resident_on[i] < -1 || vms->resident_on[i] > last_host)
            return XENMEM_BAD_RESIDENT_ON;
        if (vms->scheduled_on[i] < -1 || vms->scheduled_on[i] > last_host)
            return XENMEM_BAD_SCHEDULED_ON;
    }
    return XENMEM_OK;
}

/* The or is at least the largest amount; XENMEM_MAX_BYTES beside anything else is a false alarm. */
static int any_bad_amount(const placed_vms *vms, size_t begin, size_t end)
{
    uint64_t amounts = 0;
    for (size_t i = begin; i < end; i++)
        amounts |= (uint64_t)vms->memory[i] | (uint64_t)vms->overhead[i];
    return amounts > (uint64_t)XENMEM_MAX_BYTES;
}

static int any_bad_row(const int32_t *on, size_t begin, size_t end, int32_t last_host)
{
    int bad = 0;
    for (size_t i = begin; i < end; i++)
        bad |= (on[i] < -1) | (on[i] > last_host);
    return bad;
}

static int all_nowhere(const int32_t *on, size_t begin, size_t end)
{
    int32_t all = -1;
    for (size_t i = begin; i < end; i++)
        all &= on[i];
    return all == -1;
}

/* Adds nothing to host 0 for a VM that is nowhere: no branch could foretell which VMs are halted. */
static int64_t add_residents(const placed_vms *vms, size_t begin, size_t end, int64_t *used)
{
    int64_t sum = 0;
    for (size_t i = begin; i < end; i++) {
        const int64_t somewhere = -(int64_t)(vms->resident_on[i] >= 0);
        const int64_t amount = (vms->memory[i] + vms->overhead[i]) & somewhere;
        used[vms->resident_on[i] & somewhere] += amount;
        sum += amount;
    }
    return sum;
}

/* Few VMs are ever starting or migrating, which a branch foretells well. */
static int64_t add_scheduled(const placed_vms *vms, size_t begin, size_t end, int64_t *used)
{
    int64_t sum = 0;
    for (size_t i = begin; i < end; i++) {
        if (vms->scheduled_on[i] < 0)
            continue;
        const int64_t amount = vms->memory[i] + vms->overhead[i];
        used[vms->scheduled_on[i]] += amount;
        sum += amount;
    }
    return sum;
}

static void saturate(size_t hosts, int64_t *used)
{
    for (size_t host = 0; host < hosts; host++)
        used[host] = used[host] < MAX_USED ? used[host] : MAX_USED;
}

xenmem_status xenmem_used_memory(size_t n, const int64_t *memory, const int64_t *overhead, const int32_t *resident_on,
                                 const int32_t *scheduled_on, size_t hosts, int64_t *used, size_t *bad)
{
    const placed_vms vms = {memory, overhead, resident_on, scheduled_on};
    const int32_t last_host = hosts > INT32_MAX ? INT32_MAX : (int32_t)hosts - 1;
    const int64_t max_block_growth = 4 * (int64_t)XENMEM_MAX_BYTES * BLOCK_VMS;
    int64_t growth = 0; /* of all hosts together since they were saturated: no single sum grew by more */
    *bad = 0;
    for (size_t begin = 0; begin < n; begin += BLOCK_VMS) {
        const size_t end = n - begin > BLOCK_VMS ? begin + BLOCK_VMS : n;
        if (n - begin >= AHEAD_VMS + BLOCK_VMS) {
            const size_t ahead = begin + AHEAD_VMS;
            fetch(memory, sizeof *memory, ahead, ahead + BLOCK_VMS);
            fetch(overhead, sizeof *overhead, ahead, ahead + BLOCK_VMS);
            fetch(resident_on, sizeof *resident_on, ahead, ahead + BLOCK_VMS);
            fetch(scheduled_on, sizeof *scheduled_on, ahead, ahead + BLOCK_VMS);
        }
        const int nobody_scheduled = all_nowhere(scheduled_on, begin, end);
        if (any_bad_amount(&vms, begin, end) || any_bad_row(resident_on, begin, end, last_host)
            || (!nobody_scheduled && any_bad_row(scheduled_on, begin, end, last_host))) {
            const xenmem_status status = first_bad_placed(&vms, begin, end, last_host, bad);
            if (status != XENMEM_OK)
                return status;
        }
        if (hosts == 0)
            continue;
        if (growth > MAX_GROWTH - max_block_growth) {
            saturate(hosts, used);
            growth = 0;
        }
        growth += add_residents(&vms, begin, end, used);
        if (!nobody_scheduled)
            growth += add_scheduled(&vms, begin, end, used);
    }
    saturate(hosts, used);
    *bad = 0;
    return XENMEM_OK;
}

xenmem_status xenmem_free_memory(size_t hosts, const int64_t *available, size_t n, const int64_t *memory,
                                 const int64_t *overhead, const int32_t *resident_on, const int32_t *scheduled_on,
                                 int64_t *out, size_t *bad)
{
    for (size_t host = 0; host < hosts; host++) {
        if (available[host] < -XENMEM_MAX_BYTES || available[host] > XENMEM_MAX_BYTES) {
            *bad = host;
            return XENMEM_BAD_AVAILABLE;
        }
        out[host] = 0;
    }
    const xenmem_status status = xenmem_used_memory(n, memory, overhead, resident_on, scheduled_on, hosts, out, bad);
    if (status != XENMEM_OK)
        return status;
    for (size_t host = 0; host < hosts; host++)
        out[host] = available[host] > out[host] ? available[host] - out[host] : 0;
    return XENMEM_OK;
}
