"""Build of the C backend and the version number; everything else is in pyproject.toml."""

import os
import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

HEADER = Path(__file__).parent / "csrc" / "xenmem.h"


class BuildOptionalExt(build_ext):
    """Without a working C compiler xenmem runs on numba; XENMEM_REQUIRE_C=1 makes that an error."""

    def finalize_options(self) -> None:
        super().finalize_options()
        for extension in self.extensions:
            extension.optional = os.environ.get("XENMEM_REQUIRE_C", "0") == "0"


setup(
    version=re.search(r'#define XENMEM_VERSION "(.+)"', HEADER.read_text())[1],
    cffi_modules=["csrc/build_ffi.py:ffi"],
    cmdclass={"build_ext": BuildOptionalExt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
