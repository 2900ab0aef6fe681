"""Build of the C backend, the version number, share/, and where a build goes; everything else is in pyproject.toml."""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
HEADER = ROOT / "csrc" / "xenmem.h"


class BuildOptionalExt(build_ext):
    """Without a working C compiler xenmem runs on numba; XENMEM_REQUIRE_C=1 makes that an error."""

    def finalize_options(self) -> None:
        super().finalize_options()
        for extension in self.extensions:
            extension.optional = os.environ.get("XENMEM_REQUIRE_C", "0") == "0"


options = {"bdist_wheel": {"py_limited_api": "cp311"}}
if not os.access(ROOT, os.W_OK):  # a read-only checkout: nothing is written beside the sources
    scratch = tempfile.mkdtemp(prefix="xenmem-build-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    options |= {"build": {"build_base": scratch}, "egg_info": {"egg_base": scratch}}

# the manual page and the completions, where `make man` has made them
share = [path.relative_to(ROOT) for path in sorted((ROOT / "share").rglob("*")) if path.is_file()]

setup(
    data_files=[(path.parent.as_posix(), [path.as_posix()]) for path in share],
    version=re.search(r'#define XENMEM_VERSION "(.+)"', HEADER.read_text())[1],
    cffi_modules=["csrc/build_ffi.py:ffi", "csrc/build_searches.py:ffi"],
    cmdclass={"build_ext": BuildOptionalExt},
    options=options,
)
