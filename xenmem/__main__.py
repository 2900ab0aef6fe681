"""`python -m xenmem` is the command `xenmem`."""

import sys

from xenmem.cli import main

if __name__ == "__main__":
    sys.exit(main())
