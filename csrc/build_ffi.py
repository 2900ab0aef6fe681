"""The cffi build of the C backend: the extension module xenmem.kernel._ffi, one for all CPython 3 (limited API).

The declarations are cut out of xenmem.h between its two markers, so that they cannot differ from what is compiled.
"""

import os
import re
import sys
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).resolve().parent
sys.path.insert(0, str(CSRC))

from generate import inline  # noqa: E402

HEADER = (CSRC / "xenmem.h").read_text()
SOURCES = sorted(path for path in CSRC.glob("*.c") if path.name != "example.c")
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-Wall", "-Wextra"]

OF_ONE = """
typedef struct { int64_t m0; int64_t m1; } xenmem_int64_int64;
typedef struct { int64_t m0; int64_t m1; int64_t m2; int64_t m3; } xenmem_int64_int64_int64_int64;
int64_t overhead_of_one(const xenmem_model *, int64_t, int64_t, int64_t, double);
xenmem_int64_int64 required_memory_of_one(const xenmem_model *, int64_t, int64_t, int64_t, int64_t, double);
int64_t maximise_memory_of_one(const xenmem_model *, int64_t, int64_t, double, int64_t);
xenmem_int64_int64_int64_int64 build_memory_of_one(const xenmem_model *, int64_t, int64_t, int64_t, int64_t);
"""
"""One VM given as numbers, which cffi passes in less time than arrays; the least int64 where one is out of range."""
CHECKED = """
static int is_type(int64_t type) { return type >= 0 && type < XENMEM_DOMAIN_TYPES; }
static int is_amount(int64_t bytes) { return bytes >= 0 && bytes <= XENMEM_MAX_BYTES; }
static int is_vm(int64_t type, int64_t vcpus, double multiplier)
{
    return is_type(type) && vcpus >= 0 && vcpus <= XENMEM_MAX_VCPUS && multiplier >= 0
           && multiplier <= XENMEM_MAX_SHADOW_MULTIPLIER;
}
static int64_t overhead_of_one(const xenmem_model *model, int64_t type, int64_t max, int64_t vcpus, double multiplier)
{
    const int good = is_vm(type, vcpus, multiplier) && is_amount(max);
    return good ? xenmem_one_overhead(model, type, max, vcpus, multiplier) : INT64_MIN;
}
static xenmem_int64_int64 required_memory_of_one(const xenmem_model *model, int64_t type, int64_t max, int64_t target,
                                                 int64_t vcpus, double multiplier)
{
    const int good = is_vm(type, vcpus, multiplier) && is_amount(max) && is_amount(target);
    return good ? xenmem_one_required_memory(model, type, max, target, vcpus, multiplier)
                : (xenmem_int64_int64){INT64_MIN, 0};
}
static int64_t maximise_memory_of_one(const xenmem_model *model, int64_t type, int64_t vcpus, double multiplier,
                                      int64_t total)
{
    const int good = is_vm(type, vcpus, multiplier) && is_amount(total);
    return good ? xenmem_one_maximise_memory(model, type, vcpus, multiplier, total) : INT64_MIN;
}
static xenmem_int64_int64_int64_int64 build_memory_of_one(const xenmem_model *model, int64_t type, int64_t max,
                                                          int64_t target, int64_t video)
{
    const int good = is_type(type) && is_amount(max) && is_amount(target) && is_amount(video);
    return good ? xenmem_one_build_memory(model, type, max, target, video)
                : (xenmem_int64_int64_int64_int64){INT64_MIN, 0, 0, 0};
}
"""

ffi = FFI()
ffi.cdef(re.search(r"/\* cdef: begin \*/(.*)/\* cdef: end \*/", HEADER, re.DOTALL)[1] + OF_ONE)
ffi.set_source(
    "xenmem.kernel._ffi",
    f'#include "xenmem.h"\n#define XENMEM_INLINE static inline\n{inline(("scalar",))}{CHECKED}',
    sources=[os.path.relpath(path) for path in SOURCES],
    depends=[os.path.relpath(path) for path in CSRC.glob("*.h")],
    include_dirs=[os.path.relpath(CSRC)],
    extra_compile_args=[*FLAGS, "-Werror"] if os.environ.get("XENMEM_REQUIRE_C", "0") != "0" else FLAGS,
    py_limited_api=True,
)
