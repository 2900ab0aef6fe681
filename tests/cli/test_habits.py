"""What a terminal's user takes for granted: status, defaults, files, colour, help, completion, manual page, schemas."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from terminals import drained, terminal

from xenmem import answers
from xenmem.cli.app import COMMANDS, GROUPS
from xenmem.cli.status import MEANINGS

Answer = Callable[..., str]
Command = Callable[..., "subprocess.CompletedProcess[str]"]

ASKED = {
    "report": ["report", "SMALL"],
    "report of VMs": ["report", "SMALL", "--vms"],
    "check": ["check", "SMALL"],
    "explain": ["explain", "SMALL", "lab-git-011"],
    "maximise": ["maximise", "SMALL", "lab-git-011"],
    "fit": ["fit", "SMALL", "--memory", "16GiB", "--vcpus", "4"],
    "upgrade-check": ["upgrade-check", "SMALL", "--to", "26.3"],
    "matrix": ["matrix", "SMALL"],
    "place": ["place", "SMALL", "stage-mail-018"],
    "pack": ["pack", "SMALL", "--running"],
    "evacuate": ["evacuate", "SMALL", "xen01.par.example"],
    "consolidate": ["consolidate", "SMALL"],
    "rebalance": ["rebalance", "SMALL", "--migrations", "1"],
    "rolling-update": ["rolling-update", "SMALL", "--time-limit", "2"],
    "failover": ["failover", "SMALL", "--failures", "1"],
    "capacity": ["capacity", "SMALL", "--memory", "16GiB", "--vcpus", "4", "--failures", "1"],
    "balloon": ["balloon", "SMALL", "stage-mail-018"],
    "what-if": ["what-if", "SMALL", os.devnull],
    "rightsize": ["rightsize", "SMALL", "--use", str(Path(__file__).parent.parent / "data" / "use-small.json")],
    "messages": ["messages", "VM.start"],
    "info": ["info"],
}

every_command = pytest.mark.parametrize("asked", ASKED)


def arguments(asked: str, small: str) -> list[str]:
    return [small if word == "SMALL" else word for word in ASKED[asked]]


@every_command
def test_answers_begin_with_a_sentence_and_json_follows_its_schema(xenmem: Command, small: str, asked: str) -> None:
    """F8, F10, F13: the verdict comes first, JSON has a version and a schema, the status is the outcome's."""
    done = xenmem(*arguments(asked, small), "--format", "json")
    told = json.loads(done.stdout)
    name = ASKED[asked][0]
    assert list(told)[:4] == ["format_version", "command", "verdict", "outcome"]
    assert (told["format_version"], told["command"]) == (1, name)
    assert done.returncode == {"yes": 0, "no": 1, "unknown": 3}[told["outcome"]]
    made = answers.schema(name)
    check(told, made, made["$defs"])
    page = xenmem(*arguments(asked, small))
    assert page.stdout.startswith(f"{told['verdict']}\n")
    assert told["verdict"].endswith((".", ")"))
    assert page.returncode == done.returncode


def check(value: Any, schema: dict[str, Any], known: dict[str, Any]) -> None:
    """Whether a value follows a JSON Schema, as far as those of the answers go: strictly, without further keys."""
    if "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            try:
                return check(value, one, known)
            except AssertionError:
                continue
        raise AssertionError(f"{value!r} is none of {schema}")
    if "const" in schema:
        assert value == schema["const"]
    if "enum" in schema:
        assert value in schema["enum"]
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if "type" in schema:
        kind = schema["type"]
        assert value is None if kind == "null" else isinstance(value, kinds[kind]), (value, schema)
    for entry in value if isinstance(value, list) else []:
        check(entry, schema.get("items") or {}, known)
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        for key, entry in value.items():
            check(entry, schema["properties"][key], known)
    return None


def test_the_check_of_schemas_finds_what_is_wrong() -> None:
    made = answers.schema("info")
    right = {"format_version": 1, "command": "info", **msgspec.to_builtins(answers.info())}
    check(right, made, made["$defs"])
    for wrong in ({"threads": "2"}, {"more": 1}, {"outcome": "maybe"}, {"simd": 3}):
        with pytest.raises(AssertionError):
            check(right | wrong, made, made["$defs"])


@pytest.mark.parametrize("asked", [name for name in ASKED if name != "messages"])
def test_pages_fit_80_columns_on_a_terminal(environment: dict[str, str], small: str, asked: str) -> None:
    """F4: the first table was unreadable; only commands to paste and single words may be longer."""
    ours, theirs = terminal(80)
    with subprocess.Popen(
        [sys.executable, "-m", "xenmem", *arguments(asked, small)],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=environment | {"TERM": "xterm"},
    ):
        os.close(theirs)
        shown = re.sub(r"\x1b\[[0-9;]*m", "", drained(ours)).replace("\r", "")
    for line in shown.splitlines():
        is_command = line.startswith(("    xenmem ", "    xe "))
        assert len(line) <= 80 or is_command or len(line.split()) == 1 or max(map(len, line.split())) > 50, line


def test_one_word_for_one_thing() -> None:
    """F13: what a start asks for was `needed` here and `required` there, and `--vms` a flag or a choice."""
    keys = {
        key
        for asked in ASKED.values()
        for made in answers.schema(asked[0])["$defs"].values()
        for key in made.get("properties", ())
    }
    assert "required" in keys
    assert {key for key in keys if "needed" in key} == set()
    kinds: dict[str, set[bool]] = {}
    for name in COMMANDS:
        stem = name.replace("-", "_")
        command: click.Command = getattr(import_module(f"xenmem.cli.{stem}"), stem)
        for option in command.params:
            if isinstance(option, click.Option):
                kinds.setdefault(option.opts[0], set()).add(option.is_flag)
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}


def test_many_rows_are_cut_and_said(answer: Answer, small: str) -> None:
    short, whole = answer("report", "--vms", small), answer("report", "--vms", small, "--all")
    (cut,) = re.findall(r"^(\d+) VMs in the middle left out: --all shows all\.$", short, re.MULTILINE)
    assert "left out: --all" not in whole
    assert len(whole.splitlines()) == len(short.splitlines()) + int(cut) - 2


def test_status_and_formats(xenmem: Command, small: str) -> None:
    no = xenmem("fit", small, "--memory", "900GiB", "--vcpus", "4")
    assert no.returncode == 1
    assert no.stdout.startswith("No VM of 900GiB and 4 vCPUs fits: it needs ")
    assert xenmem("fit", small, "--memory", "900GiB", "--vcpus", "4", "--format", "csv").returncode == 1
    lines = xenmem("fit", small, "--memory", "1GiB", "--vcpus", "1", "--format", "ndjson").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 3
    assert rows[0]["free"] > 0
    assert rows[0]["pool_uuid"]


@pytest.mark.parametrize(("size", "hint"), [("64", "64GiB"), ("1000000", "1000000GiB")])
def test_sizes_without_a_unit(complaint: Answer, small: str, size: str, hint: str) -> None:
    """F13: --memory 64 was 64 bytes, and 8534 of these fitted."""
    line = complaint("fit", small, "--memory", size, "--vcpus", "1")
    assert f"'{size}' has no unit and is less than 1MiB: write {hint}, or {size}B if bytes are meant" in line


# ------------------------------------------------------------------------------------------------------------ defaults


def test_the_inventory_of_the_environment(answer: Answer, complaint: Answer, small: str) -> None:
    named = answer("report", small)
    assert answer("report", XENMEM_INVENTORY=small) == named
    assert answer("explain", "lab-git-011", XENMEM_INVENTORY=small) == answer("explain", small, "lab-git-011")
    assert answer("fit", "--memory", "1GiB", "--vcpus", "1", XENMEM_INVENTORY=small).startswith("358 more VMs ")
    assert "Missing argument 'VM'" in complaint("explain", XENMEM_INVENTORY=small)
    assert "Missing argument 'INVENTORY...'" in complaint("report")


def test_the_configuration_file(answer: Answer, complaint: Answer, small: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'inventory = "{small}"\nwide = true\n[fit]\nvcpus = 4\npolicy = "static_max"\n')
    config = {"XENMEM_CONFIG": str(path)}
    assert answer("report", **config) == answer("report", small, "--wide")
    by_file = answer("fit", "--memory", "16GiB", **config)
    assert by_file == answer("fit", small, "--memory", "16GiB", "--vcpus", "4", "--policy", "static_max", "--wide")
    assert "(counted as dynamic_min)" in answer("fit", "--memory", "16GiB", "--policy", "dynamic_min", **config)
    path.write_text("[fit]\nvcpu = 4\n")
    assert complaint("fit", small, **config) == f"{path}: [fit] vcpu: there is no option --vcpu"
    path.write_text("fit = 1\n")
    assert complaint("fit", small, **config) == f"{path}: fit: is not a table of options"
    path.write_text("= 1\n")
    assert complaint("fit", small, **config).startswith(f"{path}: ")


def test_an_answer_in_a_file_is_whole_or_not_there(
    xenmem: Command, answer: Answer, complaint: Answer, small: str, tmp_path: Path
) -> None:
    path = tmp_path / "report.txt"
    path.write_text("before")
    path.chmod(0o640)
    assert answer("report", small, "-o", str(path)) == ""
    assert path.read_text() == answer("report", small)
    assert path.stat().st_mode & 0o777 == 0o640
    assert "No such file" in complaint("report", small, "-o", str(tmp_path / "nowhere" / "x"))
    assert "there is no VM" in complaint("explain", small, "nobody", "-o", str(path))
    assert path.read_text() == answer("report", small)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["report.txt"]
    assert answer("report", small, "-o", "/dev/stdout") == path.read_text()
    assert complaint("report", small, "-o", "/dev/full") == "/dev/full: No space left on device"


def test_colour(answer: Answer, small: str) -> None:
    assert "\x1b" not in answer("report", small)
    assert "\x1b[1m" in answer("report", small, "--color", "always")
    assert "\x1b" not in answer("report", small, "--color", "never", FORCE_COLOR="1")


# ---------------------------------------------------------------------------------------------------------------- help


def test_nothing_says_what_to_type_next(answer: Answer) -> None:
    lines = answer().splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines)) <= 80
    named = [line.split()[1] for line in lines if line.startswith("  xenmem ")]
    assert named
    assert set(named) <= COMMANDS.keys()


def test_helps(answer: Answer) -> None:
    overview = answer("--help")
    assert overview == answer("help") == answer("-h")
    assert [line.rstrip(":") for line in overview.splitlines() if line.rstrip(":") in GROUPS] == list(GROUPS)
    for name, about in COMMANDS.items():
        assert about.group in GROUPS
        text = answer(name, "--help")
        assert f"  {name}" in overview
        for _, example in about.examples:
            assert example in text
        for status, meaning in MEANINGS.items():
            assert f"{status.value}  {meaning}" in text
    assert answer("help", "fit") == answer("fit", "--help")
    assert answer("-V") == answer("--version")


def test_the_manual_page(answer: Answer) -> None:
    page = answer("man")
    assert page.startswith('.TH XENMEM 1 "" xenmem "User Commands"\n')
    for name in COMMANDS:
        assert f"\n.SS xenmem {name}".replace("-", "\\-") in page
    assert "XENMEM_INVENTORY" in page
    assert all(line.isprintable() for line in page.splitlines())


def completed(xenmem: Command, tmp_path: Path, *words: str, **more: str) -> list[str]:
    done = xenmem(
        COMP_WORDS=" ".join(words),
        COMP_CWORD=str(len(words) - 1),
        _XENMEM_COMPLETE="bash_complete",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        **more,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_completion(xenmem: Command, answer: Answer, small: str, tmp_path: Path) -> None:
    """F20: `xe` completes even uuids, and xenmem nothing."""
    assert completed(xenmem, tmp_path, "xenmem", "ev") == ["evacuate"]
    assert completed(xenmem, tmp_path, "xenmem", "evacuate", small, "xen0") == [
        "xen01.par.example",
        "xen02.stage.example",
        "xen03.par.example",
    ]
    assert completed(xenmem, tmp_path, "xenmem", "explain", small, "lab-g") == ["lab-git-011"]
    assert completed(xenmem, tmp_path, "xenmem", "explain", "lab-g", XENMEM_INVENTORY=small) == ["lab-git-011"]
    assert completed(xenmem, tmp_path, "xenmem", "maximise", small, "lab-git-011", "--host", "xen03") == [
        "xen03.par.example"
    ]
    assert "--memory" in completed(xenmem, tmp_path, "xenmem", "fit", "--m")
    assert completed(xenmem, tmp_path, "xenmem", "explain", str(tmp_path / "missing"), "a") == []
    for shell in ("bash", "zsh", "fish"):
        assert "_XENMEM_COMPLETE" in answer("completion", shell)


def test_next_steps_can_be_pasted(xenmem: Command, small: str, tmp_path: Path) -> None:
    """What stands below `Next` are commands that run."""
    (tmp_path / "a pool.json").write_bytes(Path(small).read_bytes())
    page = xenmem("fit", "a pool.json", "--memory", "16GiB", "--vcpus", "4").stdout
    (command,) = re.findall(r"^    (xenmem .*)$", page, re.MULTILINE)
    assert command == "xenmem capacity 'a pool.json' --memory 16GiB --vcpus 4 --failures 1"
    done = subprocess.run(
        ["sh", "-c", command.replace("xenmem", f"{sys.executable} -m xenmem", 1)], capture_output=True, check=False
    )
    assert done.stderr == b""
    assert done.returncode in (0, 1)


@pytest.fixture
def many(tmp_path: Path) -> list[str]:
    """Inventories of six pools."""
    text = (Path(__file__).parents[2] / "examples" / "four-hosts.json").read_text()
    paths = []
    for number in range(6):
        other = re.sub(r'("|OpaqueRef:)([0-9a-f]{8})-', lambda m: f"{m[1]}{int(m[2], 16) ^ number * 7919:08x}-", text)  # noqa: B023
        paths.append(str(tmp_path / f"{number}.json"))
        Path(paths[-1]).write_text(other.replace("four hosts", f"pool number {number}"))
    return paths


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("report", []),
        ("fit", ["--memory", "8GiB", "--vcpus", "2"]),
        ("capacity", ["--memory", "8GiB", "--vcpus", "2"]),
        ("upgrade-check", ["--to", "26.3"]),
    ],
)
def test_many_pools_are_a_line_each(answer: Answer, many: list[str], command: str, options: list[str]) -> None:
    """F10: a report of 200 pools was 3,812 lines without an overview."""
    page = answer(command, *many, *options)
    assert [line.split()[2] for line in page.splitlines() if line.startswith("pool number")] == list("012345")
    assert "delta" not in page
    whole = answer(command, *many, *options, "--all")
    assert len([line for line in whole.splitlines() if line.startswith("delta")]) == 6
