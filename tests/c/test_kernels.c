/* Tests of libxenmem's public functions against a naive model of memory-model.md: 64-bit integers, one
 * double product, bisection over bytes. Bytes throughout, as in xenmem.h, the only header of the project used here.
 * Tests the instruction set that XENMEM_SIMD names, or all that the machine has if it is not set. Columns are allocated
 * to their exact length, so that a sanitizer sees every access beyond them. The random numbers have a fixed seed.
 * Prints the first failures and, last, "N passed, M failed"; exits with 1 if a check failed. */
#include "xenmem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ROUNDS
#define ROUNDS 40
#endif
#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MAX_PRINTED 20
#define MIB ((int64_t)1 << 20)
#define MAX_USED (4 * (int64_t)XENMEM_MAX_BYTES)

static long passed, failed;
static const char *const level_names[] = {"scalar", "avx2", "avx512"};

static void report(int ok, const char *what, const char *detail, size_t row, int64_t want, int64_t got)
{
    if (ok) {
        passed++;
        return;
    }
    if (++failed > MAX_PRINTED)
        return;
    printf("%s, %s, %s: row %zu: want %" PRId64 ", got %" PRId64 "\n", level_names[xenmem_simd_in_force()], what,
           detail, row, want, got);
}

static void check_equal(int64_t want, int64_t got, const char *what, const char *detail)
{
    report(want == got, what, detail, 0, want, got);
}

static void check_column(size_t n, const int64_t *want, const int64_t *got, const char *what, const char *detail)
{
    size_t row = 0;
    while (row < n && want[row] == got[row])
        row++;
    report(row == n, what, detail, row, row < n ? want[row] : 0, row < n ? got[row] : 0);
}

static void check_status(xenmem_status want, size_t want_row, xenmem_status got, size_t got_row, const char *what)
{
    check_equal(want, got, what, "status");
    if (want != XENMEM_OK)
        check_equal((int64_t)want_row, (int64_t)got_row, what, "first bad row");
}

/* Random numbers (xorshift64*), the same in every run. */

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t random_bits(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1d;
}

static int64_t random_to(int64_t max)
{
    return (int64_t)((random_bits() >> 1) % ((uint64_t)max + 1));
}

/* Any order of magnitude, often at a MiB edge or at a limit. */
static int64_t random_amount(void)
{
    const int64_t amount = random_to(XENMEM_MAX_BYTES) >> random_to(50);
    switch (random_to(5)) {
    case 0:
        return amount;
    case 1:
        return amount / MIB * MIB;
    case 2:
        return amount / MIB * MIB + 1;
    case 3:
        return amount < MIB ? 0 : amount / MIB * MIB - 1;
    case 4:
        return (int64_t[]){0, 1, MIB - 1, XENMEM_MAX_BYTES - MIB, XENMEM_MAX_BYTES - 1, XENMEM_MAX_BYTES}[random_to(5)];
    default:
        return random_to((int64_t)1 << 38);
    }
}

static int32_t random_vcpus(void)
{
    const int32_t edges[] = {0, 1, 2, 6, 7, 64, 255, 256, 257, 65534, 65535};
    return random_to(2) ? (int32_t)random_to(64) : random_to(1) ? (int32_t)random_to(XENMEM_MAX_VCPUS)
                                                                : edges[random_to(COUNT(edges) - 1)];
}

/* The odd ones are where a product with a whole number lies just below or just above a whole number. */
static double random_multiplier(void)
{
    const double usual[] = {1, 1, 1, 1, 3.3, 4, 0.5, 0, -0.0, 1024, 0.1, 1.1, 0.7, 1.005};
    const int64_t whole = 1 + random_to(100000);
    switch (random_to(5)) {
    case 0:
        return (double)random_to(whole) / (double)whole;
    case 1:
        return nextafter((double)random_to(1023) + 1 / (double)whole, random_to(1) ? 0 : 1024);
    case 2:
        return (double)random_bits() / 18446744073709551616.0 * XENMEM_MAX_SHADOW_MULTIPLIER;
    default:
        return usual[random_to(COUNT(usual) - 1)];
    }
}

static int64_t random_constant(int64_t max)
{
    const int64_t edges[] = {0, max > 1, max};
    return random_to(1) ? edges[random_to(2)] : random_to(1) ? random_to(max) : random_to(max < 300 ? max : 300);
}

static xenmem_model random_model(void)
{
    xenmem_model model = {
        .vcpu_shadow_pages = random_constant(XENMEM_MAX_MODEL_CONSTANT),
        .p2m_pages_per_mib = random_constant(XENMEM_MAX_SHADOW_PAGES_PER_MIB),
        .min_shadow_mib = random_constant(XENMEM_MAX_MODEL_CONSTANT),
        .xen_pages_per_vcpu = random_constant(XENMEM_MAX_MODEL_CONSTANT),
    };
    model.resident_pages_per_mib = random_constant(XENMEM_MAX_SHADOW_PAGES_PER_MIB - model.p2m_pages_per_mib);
    for (int type = 0; type < XENMEM_DOMAIN_TYPES; type++) {
        model.extra_internal_mib[type] = random_constant(XENMEM_MAX_MODEL_CONSTANT);
        model.extra_external_mib[type] = random_constant(XENMEM_MAX_MODEL_CONSTANT);
        model.shim_base_mib[type] = random_constant(XENMEM_MAX_MODEL_CONSTANT);
        model.shim_divisor[type] = random_constant(XENMEM_MAX_MODEL_CONSTANT);
        model.required_at_unit_multiplier[type] = random_to(1);
        model.has_shadow[type] = random_to(3) > 0;
    }
    return model;
}

static const xenmem_model xapi_26_3 = {
    .vcpu_shadow_pages = 256,
    .p2m_pages_per_mib = 1,
    .resident_pages_per_mib = 1,
    .min_shadow_mib = 1,
    .xen_pages_per_vcpu = 38,
    .extra_internal_mib = {1, 0, 1, 1},
    .extra_external_mib = {1, 1, 1, 1},
    .shim_base_mib = {[XENMEM_PV_IN_PVH] = 23},
    .shim_divisor = {[XENMEM_PV_IN_PVH] = 90},
    .required_at_unit_multiplier = {[XENMEM_PV] = 1},
    .has_shadow = {1, 1, 1, 1},
};

/* The naive model. */

static int64_t mib_used(int64_t bytes)
{
    return (bytes + MIB - 1) / MIB;
}

static int64_t mib_used_by_pages(int64_t pages)
{
    return (pages + 255) / 256;
}

static int64_t naive_shadow_mib(const xenmem_model *model, int type, int64_t static_max, int32_t vcpus_max,
                                double multiplier)
{
    if (!model->has_shadow[type])
        return 0;
    const int64_t mib = mib_used(static_max);
    const int64_t pages = model->vcpu_shadow_pages * vcpus_max + model->p2m_pages_per_mib * mib
                          + model->resident_pages_per_mib * mib;
    const volatile double product = (double)mib_used_by_pages(pages) * multiplier;
    return (int64_t)product > model->min_shadow_mib ? (int64_t)product : model->min_shadow_mib;
}

static int64_t naive_shim_mib(const xenmem_model *model, int type, int64_t mib)
{
    return model->shim_base_mib[type] + (model->shim_divisor[type] ? mib / model->shim_divisor[type] : 0);
}

static int64_t naive_overhead_without_shadow_mib(const xenmem_model *model, int type, int64_t static_max,
                                                 int32_t vcpus_max)
{
    return model->extra_internal_mib[type] + model->extra_external_mib[type]
           + mib_used_by_pages(model->xen_pages_per_vcpu * vcpus_max)
           + naive_shim_mib(model, type, mib_used(static_max));
}

static double naive_required_multiplier(const xenmem_model *model, int type, double multiplier)
{
    return model->required_at_unit_multiplier[type] ? 1.0 : multiplier;
}

static int64_t naive_required(const xenmem_model *model, int type, int64_t static_max, int32_t vcpus_max,
                              double multiplier)
{
    return (mib_used(static_max) + naive_overhead_without_shadow_mib(model, type, static_max, vcpus_max)
            + naive_shadow_mib(model, type, static_max, vcpus_max, naive_required_multiplier(model, type, multiplier)))
           * MIB;
}

static int64_t naive_maximised(const xenmem_model *model, int type, int32_t vcpus_max, double multiplier, int64_t total)
{
    if (naive_required(model, type, total, vcpus_max, multiplier) <= total)
        return total / MIB * MIB;
    int64_t fits = 0, too_large = total;
    while (too_large - fits > 1) {
        const int64_t middle = fits + (too_large - fits) / 2;
        if (naive_required(model, type, middle, vcpus_max, multiplier) <= total)
            fits = middle;
        else
            too_large = middle;
    }
    return fits / MIB * MIB;
}

/* Columns of the exact length. */

static void *exactly(size_t n, size_t bytes_each)
{
    void *column = malloc(n * bytes_each + (n == 0));
    if (!column) {
        fputs("test_kernels: out of memory\n", stderr);
        exit(2);
    }
    return column;
}

static int64_t *amounts(size_t n)
{
    return exactly(n, sizeof(int64_t));
}

static int64_t *copy_of(size_t n, const int64_t *column)
{
    return memcpy(amounts(n), column, n * sizeof *column);
}

typedef struct vms {
    size_t n;
    uint8_t *type;
    int64_t *static_max, *target, *total, *video;
    int32_t *vcpus_max;
    double *multiplier;
} vms;

/* Where the shim grows by a MiB, and the MiB beside it; the number of steps is a power of two, near which products with
 * the inverse of the divisor are rounded most coarsely. */
static int64_t random_shim_step(int64_t divisor)
{
    const int64_t mib = (divisor << random_to(30)) + random_to(2) - 1;
    return mib >= 0 && mib <= XENMEM_MAX_BYTES / MIB ? mib * MIB : 0;
}

/* Totals are mostly at the edges of what some static_max requires: there the answer changes. */
static vms random_vms(const xenmem_model *model, size_t n)
{
    vms v = {n, exactly(n, 1), amounts(n), amounts(n), amounts(n), amounts(n), exactly(n, sizeof(int32_t)),
             exactly(n, sizeof(double))};
    for (size_t i = 0; i < n; i++) {
        v.type[i] = (uint8_t)random_to(XENMEM_DOMAIN_TYPES - 1);
        const int64_t divisor = model->shim_divisor[v.type[i]];
        v.static_max[i] = random_to(3) ? random_amount() : random_shim_step(divisor);
        v.target[i] = random_to(3) ? random_amount() : random_shim_step(divisor);
        v.video[i] = random_to(1) ? random_to(64) * MIB : random_amount();
        v.vcpus_max[i] = random_vcpus();
        v.multiplier[i] = random_multiplier();
        const int64_t fitting = random_to(3) ? random_amount() : random_shim_step(divisor);
        const int64_t edge = naive_required(model, v.type[i], fitting, v.vcpus_max[i], v.multiplier[i])
                             + (random_to(2) - 1) * (random_to(1) ? 1 : MIB);
        v.total[i] = random_to(3) && edge >= 0 && edge <= XENMEM_MAX_BYTES ? edge : random_amount();
    }
    return v;
}

static void free_vms(vms v)
{
    free(v.type), free(v.static_max), free(v.target), free(v.total), free(v.video), free(v.vcpus_max);
    free(v.multiplier);
}

/* The checks, each for the level in force. */

static void check_overhead(const xenmem_model *model, const vms *v)
{
    size_t bad;
    int64_t *want = amounts(v->n), *got = amounts(v->n), *in_place = copy_of(v->n, v->static_max);
    for (size_t i = 0; i < v->n; i++)
        want[i] = (naive_overhead_without_shadow_mib(model, v->type[i], v->static_max[i], v->vcpus_max[i])
                   + naive_shadow_mib(model, v->type[i], v->static_max[i], v->vcpus_max[i], v->multiplier[i]))
                  * MIB;
    check_equal(XENMEM_OK, xenmem_overhead(model, v->n, v->type, v->static_max, v->vcpus_max, v->multiplier, got, &bad),
                "overhead", "status");
    check_column(v->n, want, got, "overhead", "out");
    xenmem_overhead(model, v->n, v->type, in_place, v->vcpus_max, v->multiplier, in_place, &bad);
    check_column(v->n, want, in_place, "overhead", "in the place of static_max");
    free(want), free(got), free(in_place);
}

static void check_required_memory(const xenmem_model *model, const vms *v)
{
    size_t bad;
    int64_t *want_normal = amounts(v->n), *want_shadow = amounts(v->n);
    int64_t *normal = amounts(v->n), *shadow = amounts(v->n);
    for (size_t i = 0; i < v->n; i++) {
        want_normal[i] = (mib_used(v->target[i])
                          + naive_overhead_without_shadow_mib(model, v->type[i], v->static_max[i], v->vcpus_max[i]))
                         * MIB;
        want_shadow[i] = naive_shadow_mib(model, v->type[i], v->static_max[i], v->vcpus_max[i],
                                          naive_required_multiplier(model, v->type[i], v->multiplier[i]))
                         * MIB;
    }
    check_equal(XENMEM_OK,
                xenmem_required_memory(model, v->n, v->type, v->static_max, v->target, v->vcpus_max, v->multiplier,
                                       normal, shadow, &bad),
                "required_memory", "status");
    check_column(v->n, want_normal, normal, "required_memory", "normal");
    check_column(v->n, want_shadow, shadow, "required_memory", "shadow");
    for (int swapped = 0; swapped < 2; swapped++) {
        int64_t *static_max = copy_of(v->n, v->static_max), *target = copy_of(v->n, v->target);
        int64_t *const normal_in_place = swapped ? target : static_max;
        int64_t *const shadow_in_place = swapped ? static_max : target;
        xenmem_required_memory(model, v->n, v->type, static_max, target, v->vcpus_max, v->multiplier, normal_in_place,
                               shadow_in_place, &bad);
        check_column(v->n, want_normal, normal_in_place, "required_memory", "normal in place");
        check_column(v->n, want_shadow, shadow_in_place, "required_memory", "shadow in place");
        free(static_max), free(target);
    }
    free(want_normal), free(want_shadow), free(normal), free(shadow);
}

static void check_maximise_memory(const xenmem_model *model, const vms *v)
{
    size_t bad;
    int64_t *want = amounts(v->n), *got = amounts(v->n), *in_place = copy_of(v->n, v->total);
    for (size_t i = 0; i < v->n; i++)
        want[i] = naive_maximised(model, v->type[i], v->vcpus_max[i], v->multiplier[i], v->total[i]);
    check_equal(XENMEM_OK,
                xenmem_maximise_memory(model, v->n, v->type, v->vcpus_max, v->multiplier, v->total, got, &bad),
                "maximise_memory", "status");
    check_column(v->n, want, got, "maximise_memory", "out");
    xenmem_maximise_memory(model, v->n, v->type, v->vcpus_max, v->multiplier, in_place, in_place, &bad);
    check_column(v->n, want, in_place, "maximise_memory", "in the place of total");
    free(want), free(got), free(in_place);
}

static void check_build_memory(const xenmem_model *model, const vms *v)
{
    enum { QUANTITIES = 4 };
    static const char *const names[QUANTITIES] = {"build_max", "build_start", "xen_max", "claim_pages"};
    size_t bad;
    int64_t *want[QUANTITIES], *got[QUANTITIES];
    for (int q = 0; q < QUANTITIES; q++)
        want[q] = amounts(v->n), got[q] = amounts(v->n);
    for (size_t i = 0; i < v->n; i++) {
        const int64_t static_max = mib_used(v->static_max[i]), target = mib_used(v->target[i]);
        const int64_t video = mib_used(v->video[i]);
        const int64_t shim = naive_shim_mib(model, v->type[i], static_max);
        const int64_t start = target - video + naive_shim_mib(model, v->type[i], target);
        want[0][i] = (static_max - video + shim) * MIB;
        want[1][i] = start * MIB;
        want[2][i] = (static_max + model->extra_internal_mib[v->type[i]] + shim) * MIB;
        want[3][i] = 256 * start;
    }
    check_equal(XENMEM_OK,
                xenmem_build_memory(model, v->n, v->type, v->static_max, v->target, v->video, got[0], got[1], got[2],
                                    got[3], &bad),
                "build_memory", "status");
    for (int q = 0; q < QUANTITIES; q++) {
        check_column(v->n, want[q], got[q], "build_memory", names[q]);
        free(want[q]), free(got[q]);
    }
}

static void check_model_and_length(const xenmem_model *model, size_t n)
{
    const vms v = random_vms(model, n);
    check_overhead(model, &v);
    check_required_memory(model, &v);
    check_maximise_memory(model, &v);
    check_build_memory(model, &v);
    free_vms(v);
}

static int64_t saturated_sum(int64_t x, int64_t y)
{
    return x + y < MAX_USED ? x + y : MAX_USED;
}

static int32_t random_host(size_t hosts)
{
    return random_to(3) && hosts ? (int32_t)random_to((int64_t)hosts - 1) : -1;
}

static void check_free_memory(size_t n, size_t hosts, int all_at_the_limit)
{
    size_t bad;
    int64_t *memory = amounts(n), *overhead = amounts(n), *available = amounts(hosts), *used = amounts(hosts);
    int64_t *want_used = amounts(hosts), *want_free = amounts(hosts), *out = amounts(hosts);
    int32_t *resident_on = exactly(n, sizeof(int32_t)), *scheduled_on = exactly(n, sizeof(int32_t));
    for (size_t host = 0; host < hosts; host++) {
        available[host] = random_to(1) ? random_amount() : -random_amount();
        used[host] = random_to(3) ? random_amount() : MAX_USED - random_to(2);
        want_used[host] = used[host];
        want_free[host] = 0;
    }
    const int anyone_scheduled = random_to(1) != 0;
    for (size_t i = 0; i < n; i++) {
        memory[i] = all_at_the_limit ? XENMEM_MAX_BYTES : random_amount();
        overhead[i] = all_at_the_limit ? XENMEM_MAX_BYTES : random_amount() >> random_to(50);
        resident_on[i] = all_at_the_limit ? 0 : random_host(hosts);
        scheduled_on[i] = anyone_scheduled && random_to(1) ? random_host(hosts) : -1;
        const int32_t placements[] = {resident_on[i], scheduled_on[i]};
        for (size_t p = 0; p < COUNT(placements); p++)
            if (placements[p] >= 0) {
                const int64_t amount = memory[i] + overhead[i];
                want_used[placements[p]] = saturated_sum(want_used[placements[p]], amount);
                want_free[placements[p]] = saturated_sum(want_free[placements[p]], amount);
            }
    }
    for (size_t host = 0; host < hosts; host++)
        want_free[host] = available[host] > want_free[host] ? available[host] - want_free[host] : 0;
    check_equal(XENMEM_OK, xenmem_used_memory(n, memory, overhead, resident_on, scheduled_on, hosts, used, &bad),
                "used_memory", "status");
    check_column(hosts, want_used, used, "used_memory", "used");
    check_equal(XENMEM_OK,
                xenmem_free_memory(hosts, available, n, memory, overhead, resident_on, scheduled_on, out, &bad),
                "free_memory", "status");
    check_column(hosts, want_free, out, "free_memory", "out");
    free(memory), free(overhead), free(available), free(used), free(want_used), free(want_free), free(out);
    free(resident_on), free(scheduled_on);
}

static void check_free_memory_at_all_sizes(void)
{
    const size_t lengths[] = {0, 1, 7, 63, 64, 65, 127, 128, 129, 1000, 1087, 1088, 1089, 10000};
    const size_t host_counts[] = {0, 1, 2, 100};
    for (size_t l = 0; l < COUNT(lengths); l++)
        for (size_t h = 0; h < COUNT(host_counts); h++)
            check_free_memory(lengths[l], host_counts[h], 0);
    check_free_memory(20000, 3, 1);
}

/* One bad value, alone or followed by others in the later parameters of its row and in the rows after it: the first bad
 * row and, in it, the first bad parameter count. */

static const int64_t bad_amounts[] = {-1, INT64_MIN, XENMEM_MAX_BYTES + 1, INT64_MAX, (int64_t)1 << 51};
static const int32_t bad_vcpus[] = {-1, INT32_MIN, XENMEM_MAX_VCPUS + 1, INT32_MAX, 1 << 17};
static const uint8_t bad_types[] = {XENMEM_DOMAIN_TYPES, 128, 255, 8, 16};
#define BAD_VALUES 5

static double bad_multiplier(size_t which)
{
    const double bad[BAD_VALUES] = {NAN, -NAN, INFINITY, -4.9406564584124654e-324, nextafter(1024, 2000)};
    return bad[which];
}

static void spoil(vms *v, size_t row, xenmem_status column, size_t which)
{
    switch (column) {
    case XENMEM_BAD_DOMAIN_TYPE:
        v->type[row] = bad_types[which];
        break;
    case XENMEM_BAD_STATIC_MAX:
        v->static_max[row] = bad_amounts[which];
        break;
    case XENMEM_BAD_TARGET:
        v->target[row] = bad_amounts[which];
        break;
    case XENMEM_BAD_VCPUS_MAX:
        v->vcpus_max[row] = bad_vcpus[which];
        break;
    case XENMEM_BAD_SHADOW_MULTIPLIER:
        v->multiplier[row] = bad_multiplier(which);
        break;
    case XENMEM_BAD_TOTAL:
        v->total[row] = bad_amounts[which];
        break;
    default:
        v->video[row] = bad_amounts[which];
    }
}

enum { OVERHEAD, REQUIRED_MEMORY, MAXIMISE_MEMORY, BUILD_MEMORY, FUNCTIONS };
static const char *const function_names[] = {"overhead", "required_memory", "maximise_memory", "build_memory"};
enum { MAX_PARAMETERS = 5 };
static const xenmem_status parameters[FUNCTIONS][MAX_PARAMETERS] = {
    {XENMEM_BAD_DOMAIN_TYPE, XENMEM_BAD_STATIC_MAX, XENMEM_BAD_VCPUS_MAX, XENMEM_BAD_SHADOW_MULTIPLIER},
    {XENMEM_BAD_DOMAIN_TYPE, XENMEM_BAD_STATIC_MAX, XENMEM_BAD_TARGET, XENMEM_BAD_VCPUS_MAX,
     XENMEM_BAD_SHADOW_MULTIPLIER},
    {XENMEM_BAD_DOMAIN_TYPE, XENMEM_BAD_VCPUS_MAX, XENMEM_BAD_SHADOW_MULTIPLIER, XENMEM_BAD_TOTAL},
    {XENMEM_BAD_DOMAIN_TYPE, XENMEM_BAD_STATIC_MAX, XENMEM_BAD_TARGET, XENMEM_BAD_VIDEO},
};

/* In place where the header allows it: the row must be found although earlier ones are overwritten. */
static xenmem_status call(int function, const xenmem_model *model, const vms *v, size_t *bad)
{
    int64_t *out[3] = {amounts(v->n), amounts(v->n), amounts(v->n)};
    int64_t *pages = amounts(v->n);
    xenmem_status status;
    switch (function) {
    case OVERHEAD:
        status = xenmem_overhead(model, v->n, v->type, v->static_max, v->vcpus_max, v->multiplier, v->static_max, bad);
        break;
    case REQUIRED_MEMORY:
        status = xenmem_required_memory(model, v->n, v->type, v->static_max, v->target, v->vcpus_max, v->multiplier,
                                        v->target, v->static_max, bad);
        break;
    case MAXIMISE_MEMORY:
        status = xenmem_maximise_memory(model, v->n, v->type, v->vcpus_max, v->multiplier, v->total, v->total, bad);
        break;
    default:
        status = xenmem_build_memory(model, v->n, v->type, v->static_max, v->target, v->video, out[0], out[1], out[2],
                                     pages, bad);
    }
    free(out[0]), free(out[1]), free(out[2]), free(pages);
    return status;
}

static void check_error(size_t n, size_t row, int function, size_t parameter, size_t which, int alone)
{
    vms v = random_vms(&xapi_26_3, n);
    spoil(&v, row, parameters[function][parameter], which);
    for (size_t later = parameter + 1; !alone && later < MAX_PARAMETERS && parameters[function][later]; later++)
        spoil(&v, row, parameters[function][later], 0);
    for (size_t later = row + 1; !alone && later < n; later += 13)
        spoil(&v, later, parameters[function][0], which);
    size_t bad = SIZE_MAX;
    const xenmem_status status = call(function, &xapi_26_3, &v, &bad);
    check_status(parameters[function][parameter], row, status, bad, function_names[function]);
    free_vms(v);
}

static void check_errors(void)
{
    const size_t n = 300, rows[] = {0, 1, 7, 8, 15, 127, 128, 200, 255, 256, 298, 299};
    for (int function = 0; function < FUNCTIONS; function++)
        for (size_t parameter = 0; parameter < MAX_PARAMETERS && parameters[function][parameter]; parameter++)
            for (size_t which = 0; which < BAD_VALUES; which++) {
                check_error(1, 0, function, parameter, which, 1);
                for (size_t r = 0; r < COUNT(rows); r++)
                    for (int alone = 0; alone < 2; alone++)
                        check_error(n, rows[r], function, parameter, which, alone);
            }
}

enum { VMS = 200, HOSTS = 10 };

static void check_placement_error(size_t row, xenmem_status first, size_t which, int alone)
{
    static const int32_t bad_hosts[BAD_VALUES] = {-2, HOSTS, INT32_MAX, INT32_MIN, HOSTS + 1};
    int64_t memory[VMS] = {0}, overhead[VMS] = {0}, available[HOSTS] = {0}, used[HOSTS] = {0};
    int32_t resident_on[VMS] = {0}, scheduled_on[VMS];
    for (size_t i = 0; i < VMS; i++) {
        const xenmem_status from = i < row ? XENMEM_BAD_SCHEDULED_ON + 1 : i == row ? first : XENMEM_BAD_MEMORY;
        const xenmem_status to = !alone ? XENMEM_BAD_SCHEDULED_ON : i == row ? first : XENMEM_OK;
        if (from <= XENMEM_BAD_MEMORY && XENMEM_BAD_MEMORY <= to)
            memory[i] = bad_amounts[which];
        if (from <= XENMEM_BAD_OVERHEAD && XENMEM_BAD_OVERHEAD <= to)
            overhead[i] = bad_amounts[which];
        if (from <= XENMEM_BAD_RESIDENT_ON && XENMEM_BAD_RESIDENT_ON <= to)
            resident_on[i] = bad_hosts[which];
        scheduled_on[i] = from <= XENMEM_BAD_SCHEDULED_ON && XENMEM_BAD_SCHEDULED_ON <= to ? bad_hosts[which] : -1;
    }
    size_t bad = SIZE_MAX;
    xenmem_status status = xenmem_used_memory(VMS, memory, overhead, resident_on, scheduled_on, HOSTS, used, &bad);
    check_status(first, row, status, bad, "used_memory");
    status = xenmem_free_memory(HOSTS, available, VMS, memory, overhead, resident_on, scheduled_on, used, &bad);
    check_status(first, row, status, bad, "free_memory");

    available[3] = XENMEM_MAX_BYTES + 1;
    available[HOSTS - 1] = INT64_MIN;
    status = xenmem_free_memory(HOSTS, available, VMS, memory, overhead, resident_on, scheduled_on, used, &bad);
    check_status(XENMEM_BAD_AVAILABLE, 3, status, bad, "free_memory");
    available[3] = -XENMEM_MAX_BYTES;
    status = xenmem_free_memory(HOSTS, available, VMS, memory, overhead, resident_on, scheduled_on, used, &bad);
    check_status(XENMEM_BAD_AVAILABLE, HOSTS - 1, status, bad, "free_memory");
}

static void check_placement_errors(void)
{
    const size_t rows[] = {0, 1, 63, 64, 199};
    for (size_t r = 0; r < COUNT(rows); r++)
        for (size_t which = 0; which < BAD_VALUES; which++)
            for (xenmem_status first = XENMEM_BAD_MEMORY; first <= XENMEM_BAD_SCHEDULED_ON; first++)
                for (int alone = 0; alone < 2; alone++)
                    check_placement_error(rows[r], first, which, alone);
}

static void check_bad_model(const xenmem_model *model)
{
    const vms none = random_vms(&xapi_26_3, 0);
    for (int function = 0; function < FUNCTIONS; function++) {
        size_t bad = SIZE_MAX;
        const xenmem_status status = call(function, model, &none, &bad);
        check_status(XENMEM_BAD_MODEL, 0, status, bad, function_names[function]);
    }
    free_vms(none);
}

static void check_bad_models(void)
{
    const int64_t bad[] = {-1, XENMEM_MAX_MODEL_CONSTANT + 1, INT64_MIN, INT64_MAX};
    for (size_t constant = 0; constant < sizeof(xenmem_model) / sizeof(int64_t); constant++)
        for (size_t which = 0; which < COUNT(bad); which++) {
            xenmem_model model = xapi_26_3;
            memcpy((char *)&model + constant * sizeof(int64_t), &bad[which], sizeof(int64_t));
            check_bad_model(&model);
        }
    xenmem_model model = xapi_26_3;
    model.resident_pages_per_mib = XENMEM_MAX_SHADOW_PAGES_PER_MIB;
    check_bad_model(&model);
    model = xapi_26_3;
    model.required_at_unit_multiplier[XENMEM_PVH] = 2;
    check_bad_model(&model);
}

/* XCP-ng 8.2's record of a real VM: 11534336 bytes, xapi before 26.3. */
static void check_known_overhead(void)
{
    xenmem_model pre_26_3 = xapi_26_3;
    pre_26_3.xen_pages_per_vcpu = 0;
    const uint8_t type = XENMEM_HVM;
    const int64_t static_max = 1024 * MIB;
    const int32_t vcpus_max = 1;
    const double multiplier = 1.0;
    int64_t out;
    size_t bad;
    check_equal(XENMEM_OK, xenmem_overhead(&pre_26_3, 1, &type, &static_max, &vcpus_max, &multiplier, &out, &bad),
                "known overhead", "status");
    check_equal(11534336, out, "known overhead", "out");
}

static void check_all_at(xenmem_simd level)
{
    check_equal(level, xenmem_set_simd(level), "set_simd", "level");
    check_equal(level, xenmem_simd_in_force(), "simd_in_force", "level");
    const size_t lengths[] = {0, 1, 7, 8, 9, 15, 16, 17, 127, 128, 129, 4095, 4096, 4097};
    for (int round = 0; round < ROUNDS; round++) {
        const xenmem_model model = round % 2 ? random_model() : xapi_26_3;
        for (size_t l = 0; l < COUNT(lengths); l++)
            if (lengths[l] < 1000 || round % 8 < 2)
                check_model_and_length(&model, lengths[l]);
    }
    check_known_overhead();
    check_free_memory_at_all_sizes();
    check_errors();
    check_placement_errors();
    check_bad_models();
}

int main(void)
{
    const xenmem_simd supported = xenmem_simd_supported();
    const char *const wanted = getenv("XENMEM_SIMD");
    xenmem_simd at_start = supported;
    for (xenmem_simd level = XENMEM_SIMD_SCALAR; wanted && level < supported; level++)
        if (strcmp(wanted, level_names[level]) == 0)
            at_start = level;
    check_equal(at_start, xenmem_simd_in_force(), "simd_in_force", "at the start");
    check_equal(supported, xenmem_set_simd((xenmem_simd)99), "set_simd", "beyond the widest");
    check_equal(0, strcmp(XENMEM_VERSION, xenmem_version()), "version", "the header's");

    for (xenmem_simd level = wanted ? at_start : XENMEM_SIMD_SCALAR; level <= (wanted ? at_start : supported); level++)
        check_all_at(level);
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed != 0;
}
