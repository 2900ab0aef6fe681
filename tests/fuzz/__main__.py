"""Try inputs without end: `python -m fuzz TARGET... [--seconds N] [--seed N] [--first N]` in the folder of the tests.

Each input follows from the seed and its number, which a finding names: `--seed S --first N --seconds 0` tries it
again. Status 1 at the first finding, which is kept in the folder that --keep names.
"""

import argparse
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from random import Random

TARGETS = ("readers", "commands", "wire", "messages")


def main() -> int:
    """Fuzz the targets one after the other."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", default=list(TARGETS), help=f"some of {', '.join(TARGETS)}; all by default"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--keep", type=Path, default=Path("../build/fuzz"), help="folder for findings")
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    return max(fuzz(name, seed, options) for name in options.targets)


def fuzz(name: str, seed: int, options: argparse.Namespace) -> int:
    """Fuzz one target; the exit status."""
    fuzzer = import_module(f"fuzz.{name}").Fuzzer()
    end = time.monotonic() + options.seconds
    number, tried, told = options.first, 0, time.monotonic()
    while True:
        try:
            tried += fuzzer.run(Random(f"{seed}/{number}"))
        except KeyboardInterrupt:
            break
        except BaseException:
            options.keep.mkdir(parents=True, exist_ok=True)
            kept = options.keep / f"{name}-{seed}-{number}"
            kept.write_bytes(fuzzer.example())
            traceback.print_exc()
            print(f"{name}: a finding after {tried} inputs: --seed {seed} --first {number}; kept as {kept}", flush=True)
            return 1
        number += 1
        if time.monotonic() >= end:
            break
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{name}: {tried} inputs, seed {seed}", flush=True)
    print(f"{name}: {tried} inputs, seed {seed}: no finding", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
