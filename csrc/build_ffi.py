"""The cffi build of the C backend: the extension module xenmem.kernel._ffi, one for all CPython 3 (limited API).

The declarations are cut out of xenmem.h between its two markers, so that they cannot differ from what is compiled.
"""

import os
import re
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).parent
HEADER = (CSRC / "xenmem.h").read_text()
SOURCES = sorted(path for path in CSRC.glob("*.c") if path.name != "example.c")
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-Wall", "-Wextra"]

ffi = FFI()
ffi.cdef(re.search(r"/\* cdef: begin \*/(.*)/\* cdef: end \*/", HEADER, re.DOTALL)[1])
ffi.set_source(
    "xenmem.kernel._ffi",
    '#include "xenmem.h"',
    sources=[os.path.relpath(path) for path in SOURCES],
    depends=[os.path.relpath(path) for path in CSRC.glob("*.h")],
    include_dirs=[os.path.relpath(CSRC)],
    extra_compile_args=[*FLAGS, "-Werror"] if os.environ.get("XENMEM_REQUIRE_C", "0") != "0" else FLAGS,
    py_limited_api=True,
)
