"""The asv suite: one module for each family of questions, one class for each question; data from fixed seeds.

Beside xenmem it times the limit (a copy, a sort, bare parsing) and the naive ways: benchmarks/table.py finds all that
it divides among asv's results. asv runs `setup` before every sample: what is dear to make is made once, by
`setup_cache` or a cached function, and answers are checked there, never within what is timed.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))  # the naive twins, the makers of pools, and the generator of dumps
