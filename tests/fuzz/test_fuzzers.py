"""The fuzzers themselves: each tries some inputs, the same ones every time, and an example of each can be kept."""

from importlib import import_module
from random import Random

import pytest
from fuzz.__main__ import TARGETS


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize(("target", "inputs"), [("readers", 300), ("commands", 40), ("wire", 4), ("messages", 4)])
def test_tries_inputs(target: str, inputs: int) -> None:
    fuzzer = import_module(f"fuzz.{target}").Fuzzer()
    assert sum(fuzzer.run(Random(f"1/{number}")) for number in range(inputs)) >= inputs
    assert fuzzer.example()
    assert target in TARGETS
