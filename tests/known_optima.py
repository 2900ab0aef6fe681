"""Bin-packing instances with a planted packing: their optimum is known by construction, and proved by a sum.

Made in the manner of Falkenauer's classes (A hybrid grouping genetic algorithm for bin packing, 1996). Sizes and
capacities are plain integers. A planted packing of m bins is full but for a slack of less than one bin in all, so no
m - 1 bins hold the items; their order tells nothing of it. Instances of others, as text, are read by `read`.
"""

import random
from pathlib import Path
from typing import NamedTuple

TRIPLETS = {60: range(8), 120: range(12), 249: range(4), 501: range(1, 2)}


class Instance(NamedTuple):
    """Items, equal bins, and the number of bins that is enough and, for what is made here, needed."""

    name: str
    capacity: int
    sizes: list[int]
    bins: int


def uniform(items: int, seed: int, slack: float = 0.0) -> Instance:
    """About so many items of 20 to 100 in bins of 150; `slack`, below 1, is what is left free in all, in bins."""
    draw = random.Random(f"uniform {items} {seed} {slack}")
    capacity, smallest, largest = 150, 20, 100
    sizes: list[int] = []
    bins = 0
    while len(sizes) < items:
        left = capacity
        while left > largest or (left >= 2 * smallest and draw.random() < 0.5):
            sizes.append(draw.randint(smallest, min(largest, left - smallest)))
            left -= sizes[-1]
        sizes.append(left)
        bins += 1
    for _ in range(int(slack * capacity)):
        sizes[draw.choice([item for item, size in enumerate(sizes) if size > smallest])] -= 1
    draw.shuffle(sizes)
    return Instance(f"u{items}_{seed:02}", capacity, sizes, bins)


def triplets(items: int, seed: int) -> Instance:
    """Items of a quarter to half of a bin: the optimum fills each bin with three, without a rest."""
    draw = random.Random(f"triplets {items} {seed}")
    capacity, smallest, largest = 1000, 250, 499
    sizes = []
    for _ in range(items // 3):
        first = draw.randint(380, 490)
        second = draw.randint(max(smallest, capacity - largest - first), (capacity - first) // 2)
        sizes += [first, second, capacity - first - second]
    draw.shuffle(sizes)
    return Instance(f"t{items}_{seed:02}", capacity, sizes, items // 3)


def narrow(items: int, seed: int) -> tuple[int, list[int]]:
    """Bin and items of 15 to 20 % of it, five or six in a bin: as Schwerin and Waescher's (1997). Optimum unknown."""
    draw = random.Random(f"narrow {items} {seed}")
    return 1000, [draw.randint(150, 200) for _ in range(items)]


def wide(items: int, seed: int) -> tuple[int, list[int]]:
    """Bin and items of up to 80 % of it, nearly all of different sizes: as Schoenfield's Hard28. Optimum unknown."""
    draw = random.Random(f"wide {items} {seed}")
    return 1000, [draw.randint(1, 800) for _ in range(items)]


def read(path: Path) -> list[Instance]:
    """The instances of a file of the OR-Library, or the one of a file that begins with its number of items."""
    words = path.read_text().split()
    if not words[1].isdigit():
        found = []
        at = 1
        for _ in range(int(words[0])):
            capacity, items, bins = map(int, words[at + 1 : at + 4])
            found.append(Instance(words[at], capacity, [int(word) for word in words[at + 4 : at + 4 + items]], bins))
            at += 4 + items
        return found
    items, capacity, *sizes = map(int, words)
    return [Instance(path.stem, capacity, sizes, items // 3)]


def made() -> list[Instance]:
    """The instances of our own that the tests try."""
    uniforms = [uniform(120, seed, slack) for seed, slack in enumerate([0.0, 0.2, 0.5, 0.9] * 3)]
    uniforms += [
        uniform(items, seed, slack) for items in (250, 500, 1000) for seed, slack in enumerate([0.0, 0.3, 0.8])
    ]
    return uniforms + [triplets(items, seed) for items, seeds in TRIPLETS.items() for seed in seeds]


def captured(folder: Path) -> list[Instance]:
    """The instances of others in a folder that need not be there."""
    return [instance for path in sorted(folder.glob("*.txt")) for instance in read(path)]
