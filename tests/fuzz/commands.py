"""Every command on pools that are odd: an answer that can be read, or one line and status 2; nothing that steers.

Scripts are of known lines, tables and errors without control characters, CSV of rows of one width, JSON is JSON.
"""

import atexit
import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from dumps import DOM0
from fuzz import inventories

from xenmem.answers import script, xe_lines
from xenmem.cli import main

SIZES = ("1GiB", "0", "1", "4GiB", "1PiB", "1.5TiB", "100MiB", "3.3", "-1", "x")
POLICIES = ("static_max", "dynamic_max", "dynamic_min")
USE = Path(__file__).parents[1] / "data" / "use-small.json"
FIXED = re.compile(r"#.*|set -eu|total=\d+|progress=.*|undo\(\) \{|\}|    :|rm -f \"\$progress\"|say \"All is done.\"|")
COMMAND = re.compile(r"(xe (vm|host|pool)-[a-z-]+|[a-z_]+)( [-A-Za-z0-9_=.:,]+)*")
HELPERS = frozenset(
    line
    for text in (script._RESTART_HOST, script._SWITCH_HA, script._STEPS, xe_lines.BEGIN)
    for line in text.splitlines()
)
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


class Output(io.BytesIO):
    """A standard stream that is kept."""

    encoding = "utf-8"

    @property
    def buffer(self) -> "Output":
        return self

    def write(self, text: Any) -> int:
        return super().write(text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text)

    def text(self) -> str:
        return self.getvalue().decode()


@contextmanager
def streams() -> Any:
    """Standard output and error, as what is written to them."""
    was = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = output, errors = Output(), Output()  # type: ignore[assignment]
    try:
        yield output, errors
    finally:
        sys.stdout, sys.stderr = was


class Fuzzer:
    """Asks some commands about one pool after the other."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder)
        self.inventory = folder / "pool"
        self.script = folder / "script.jsonl"
        self.arguments: list[str] = []

    def example(self) -> bytes:
        """The last command, the script, and the pool."""
        script = self.script.read_bytes() if self.script.exists() else b""
        return repr(self.arguments).encode() + b"\n" + script + self.inventory.read_bytes()

    def run(self, random: Random) -> int:
        """Ask about one pool; how many commands that were."""
        tables = inventories.odd(random)
        if random.random() < 0.2:
            inventories.spoil(random, tables)
        write = random.choice((*[inventories.records] * 4, *[inventories.statedb] * 4, inventories.xe))
        self.inventory.write_bytes(write(random, tables))
        for _ in range(6):
            self.arguments = self.command(random, tables)
            with streams() as (output, errors):
                status = main(self.arguments)
            said = [line for line in errors.text().splitlines() if not line.startswith("xenmem: compiling")]
            assert status in (0, 1, 2, 3), status
            if status == 2:
                assert len(said) == 1, said
                assert said[0].startswith("xenmem: error: "), said
                assert said[0].isprintable(), said
                assert len(said[0]) < 2000, len(said[0])
                assert not output.getvalue()
            else:
                assert not said, said
                check(self.arguments, output.text())
        return 6

    def command(self, random: Random, tables: inventories.Tables) -> list[str]:
        """A command with options, of which some are right."""
        name = random.choice(list(COMMANDS))
        vm, host = (lambda: some(random, tables, "VM")), (lambda: some(random, tables, "host"))
        arguments = [name, str(self.inventory)]

        def maybe(chance: float, *more: Any) -> None:
            if random.random() < chance:
                arguments.extend(map(str, more))

        COMMANDS[name](random, arguments, maybe, vm, host)
        if name == "what-if":
            self.script.write_text(messages(random, vm, host), encoding="utf-8", errors="replace")
            arguments.insert(2, str(self.script))
        maybe(0.2, "--lenient")
        if name in EMITTING and random.random() < 0.4:
            arguments += ["--emit", random.choice(("xe", "messages"))]
        else:
            maybe(0.6, "--format", random.choice(("json", "csv", "table")))
        return [one.replace("\0", "") for one in arguments]


EMITTING = ("place", "pack", "evacuate", "consolidate", "rebalance", "rolling-update", "balloon", "failover")
Options = Callable[[Random, list[str], Callable[..., None], Callable[[], str], Callable[[], str]], None]


def _report(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    maybe(0.4, "--vms")
    maybe(0.3, "--sort", random.choice(("name_label", "memory_static_max", "uuid", "x", "free_static_max")))
    maybe(0.2, "--model", random.choice(("26.3", "pre-26.3", "x", "xcp-ng-8.3")))


def _of_vm(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    given.append(vm())
    if given[0] == "maximise":
        maybe(0.3, "--host", host())
        maybe(0.2, "--total", random.choice(SIZES))
        maybe(0.3, "--approximate")


def _of_shape(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    given += ["--memory", random.choice(SIZES), "--vcpus", random.choice(("1", "1", "4", "65535", "0"))]
    maybe(0.3, "--domain-type", random.choice(("pv", "pvh", "pv_in_pvh", "x")))
    maybe(0.2, "--shadow-multiplier", random.choice(("0", "1.5", "1024", "nan", "-1", "inf")))
    if given[0] == "fit":
        maybe(0.4, "--count", random.choice((1, 5, 100_000, 10**12)))
    else:
        maybe(0.5, "--failures", random.choice((0, 1, 2, 9)))
        maybe(1, "--time-limit", "2")


def _upgrade_check(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    given += ["--to", random.choice(("26.3", "pre-26.3", "24.1.0", "xcp-ng-9", "x"))]


def _moves(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    if given[0] == "evacuate":
        given.append(host())
    if given[0] == "rebalance":
        given += ["--migrations", random.choice(("0", "1", "3", "100"))]
    if given[0] == "pack":
        maybe(0.6, "--objective", random.choice(("all", "fewest-hosts", "even", "fewest-migrations")))
        maybe(0.3, "--running")
        maybe(0.1, "--vm", vm())
    maybe(0.15, "--host", host())
    maybe(0.1, "--pin", f"{vm()}={host()}")
    maybe(0.1, "--together", f"{vm()},{vm()}")
    maybe(0.1, "--apart", f"{vm()},{vm()}")
    maybe(0.2, "--headroom", random.choice(SIZES))
    maybe(0.2, "--policy", random.choice(POLICIES))
    maybe(0.1, "--bandwidth", random.choice(SIZES))
    maybe(1, "--time-limit", "2")


def _rolling_update(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    maybe(0.2, "--order", f"{host()},{host()}")
    maybe(0.3, "--to", random.choice(("26.3", "xcp-ng-9", "x")))
    maybe(1, "--time-limit", "2")


def _failover(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    maybe(0.6, "--failures", random.choice((0, 1, 2, 9, 10**18)))
    maybe(0.3, "--one-by-one")
    maybe(0.4, "--remedy")
    maybe(0.4, "--restart", random.choice(("protected", "running")))
    maybe(1, "--time-limit", "2")


def _matrix(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    """It has no options of its own."""


def _history(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    given.append(given[1])
    maybe(0.3, "--policy", random.choice(POLICIES))


def _rightsize(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    maybe(1, "--use", str(USE))
    maybe(0.3, "--ranges")
    maybe(0.3, "--percentile", random.choice(("50", "99.9", "0", "x", "1/0")))
    maybe(0.3, "--window", random.choice(("1", "30", "0", "9999")))


def _what_if(random: Random, given: list[str], maybe: Any, vm: Any, host: Any) -> None:
    maybe(0.3, "--fields")


COMMANDS: dict[str, Options] = {
    "report": _report,
    "matrix": _matrix,
    **dict.fromkeys(("explain", "maximise", "place", "balloon"), _of_vm),
    **dict.fromkeys(("fit", "capacity"), _of_shape),
    "upgrade-check": _upgrade_check,
    **dict.fromkeys(("pack", "evacuate", "consolidate", "rebalance"), _moves),
    "rolling-update": _rolling_update,
    "failover": _failover,
    "history": _history,
    "rightsize": _rightsize,
    "what-if": _what_if,
}


def some(random: Random, tables: inventories.Tables, name: str) -> str:
    """The name, uuid or reference of some VM or host; or of none."""
    rows = tables.get(name)
    names = [
        one
        for ref, record in (rows.items() if isinstance(rows, dict) else ())
        if isinstance(record, dict) and ref != DOM0
        for one in (ref, record.get("uuid"), record.get("name_label"))
        if isinstance(one, str)
    ]
    return random.choice(names if names and random.random() < 0.97 else ["nope"]).encode("utf-8", "replace").decode()


def messages(random: Random, vm: Callable[[], str], host: Callable[[], str]) -> str:
    """Messages of JSON lines."""
    lines = []
    for _ in range(random.randrange(6)):
        method = random.choice(
            (
                "VM.start",
                "VM.set_memory",
                "VM.hard_shutdown",
                "host.disable",
                "host.evacuate",
                "VM.pool_migrate",
                "VM.clone",
            )
        )
        parameters: list[Any] = random.choice(
            (
                [{"name_label": vm()}, False, False],
                [vm(), "1073741824"],
                [{"name_label": vm()}],
                [{"name_label": host()}],
                [{"name_label": vm()}, {"name_label": host()}, {}],
                [inventories.value(random)],
            )
        )
        lines.append(json.dumps({"method": method, "params": parameters}))
    return "\n".join(lines)


def check(arguments: list[str], text: str) -> None:
    """What a command that succeeded has printed."""
    kind = arguments[arguments.index("--format") + 1] if "--format" in arguments else "table"
    if "--emit" in arguments:
        if "messages" in arguments:
            for line in text.splitlines():
                json.loads(line)
            return
        for line in text.split("\n"):
            assert line.isprintable(), line
            check_line(line)
        assert subprocess.run(["sh", "-n"], input=text.encode(), check=False).returncode == 0
    elif kind == "json":
        json.loads(text)
        assert text.replace("\n", "").isprintable()
    elif kind == "csv":
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert len({len(row) for row in rows}) <= 1, "rows of one width"
        for cell in (cell for row in rows for cell in row):
            assert cell.isprintable(), cell
            assert not cell.startswith(FORMULAS) or NUMBER.fullmatch(cell), cell
    else:
        assert text.replace("\n", "").isprintable()


def check_line(line: str) -> None:
    """A line of a script: one of its own, or a step whose texts are quoted and whose command names uuids alone."""
    if line in HELPERS or FIXED.fullmatch(line):
        return
    words = shlex.split(line)
    if line.startswith("step "):
        assert words[1].isdecimal(), line
        assert COMMAND.fullmatch(" ".join(words[4:])), line
        assert line.endswith(" ".join(words[4:])), line
    else:
        assert words[:2] == ["if", "was_done"], line
        assert words[3:5] == ["then", "say"], line
        assert words[-1] == "fi", line
