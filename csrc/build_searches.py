"""The cffi build of the compiled searches: xenmem.planning.search.compiled._c, C translated from that folder's files.

The module says of which texts it was made, so that it is not used with others.
"""

import hashlib
import os
import sys
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).resolve().parent
sys.path.insert(0, str(CSRC))

from translate import translate  # noqa: E402

PACKAGE = CSRC.parent / "xenmem"
SEARCHES = PACKAGE / "planning" / "search" / "compiled"
FLAGS = ["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fwrapv", "-Wall", "-Wextra"]

translated = translate(PACKAGE / "columns.py", *sorted(SEARCHES.glob("*.py")))
digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SEARCHES.glob("*.py")))).hexdigest()

ffi = FFI()
ffi.cdef(f"{translated.declarations}\nconst char *xm_digest(void);")
ffi.set_source(
    "xenmem.planning.search.compiled._c",
    f"""#include "searches.h"
{translated.types}
XM_ARRAYS
{translated.definitions}
{translated.exports}
static const char *xm_digest(void) {{ return "{digest}"; }}
""",
    depends=[os.path.relpath(CSRC / "searches.h")],
    include_dirs=[os.path.relpath(CSRC)],
    extra_compile_args=[*FLAGS, "-Werror"] if os.environ.get("XENMEM_REQUIRE_C", "0") != "0" else FLAGS,
    py_limited_api=True,
)
