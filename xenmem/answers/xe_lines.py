"""Lines of xe as a language of scripts: what `--emit xe` writes and operators type, as messages of XenAPI.

A line is a command of xe with its parameters, as a POSIX shell splits it; nothing is run. Of the scripts that xenmem
writes, the lines that carry out a step count, and what guards them does not. Knows no pool.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from xenmem.answers.naming import QuestionError
from xenmem.datamodel import CLASSES
from xenmem.datamodel.types import MapType
from xenmem.units import parse_size

BEGIN: Final = "# steps"
"""The line of a script that xenmem wrote after which its steps come."""


class XeMessage(NamedTuple):
    """A message as a line of xe means it.

    Attributes
    ----------
    line : its number in the script
    method : the message
    parameters : objects as `{"uuid": ...}` or `{"name_label": ...}`
    """

    line: int
    method: str
    parameters: list[Any]


def is_xe(first_line: bytes) -> bool:
    """Whether a script that begins so is one of xe: a shell's, a comment, or a command of xe."""
    return first_line.startswith((b"#", b"xe ")) or first_line.split(b" ")[0] in (b"set", b"step")


def messages_of(lines: Iterator[tuple[int, bytes]], name: str) -> Iterator[XeMessage]:
    """The messages of a script.

    Parameters
    ----------
    lines : those that hold something, by number
    name : of the script, for errors

    Raises
    ------
    QuestionError : a line is no command of xe, or one that is not known here; names the line
    """
    all_lines = list(lines)
    begin = next(
        (place for place, (_, line) in enumerate(all_lines) if line.decode(errors="replace").strip() == BEGIN), -1
    )
    pending = ""
    for number, raw in all_lines[begin + 1 :]:
        text = pending + raw.decode(errors="replace").rstrip("\r\n")
        if text.endswith("\\"):
            pending = text[:-1]
            continue
        pending = ""
        place = f"{name}:{number}"
        try:
            words = shlex.split(text, comments=True)
        except ValueError as error:
            raise QuestionError(f"{place}: {str(error)[0].lower()}{str(error)[1:]}") from None
        if words[:1] == ["step"]:  # step NUMBER WHAT CHECK COMMAND...
            words = words[_STEP_WORDS:]
        if not words or words[0] in ("set", "echo", "printf", "exit", ":", "say", "rm"):
            continue
        if words[0] in _SWITCHES and len(words) == 1:
            yield XeMessage(number, *_SWITCHES[words[0]])
            continue
        if words[0] in _FUNCTIONS and len(words) == 2:
            yield XeMessage(number, _FUNCTIONS[words[0]], [{"uuid": words[1]}])
            continue
        if words[0] != "xe":
            raise QuestionError(f"{place}: {words[0]!r} is not xe: only lines of xe are tried, nothing is run")
        for method, parameters in _messages(words[1:], place):
            yield XeMessage(number, method, parameters)


_STEP_WORDS: Final = 4
_FUNCTIONS: Final = {"restart_host": "host.enable", "shutdown_vm": "VM.shutdown"}
_SWITCHES: Final[dict[str, tuple[str, list[Any]]]] = {
    "disable_ha": ("pool.disable_ha", []),
    "enable_ha": ("pool.enable_ha", [[], {}]),
}
"""What the functions of xenmem's own scripts come to: those of one uuid, and those without."""


class _Line:
    """The parameters of a command: `key=value`, and flags as `key=true`."""

    def __init__(self, words: list[str], place: str) -> None:
        self.command = words[0] if words else ""
        self.place = place
        self.given: dict[str, str] = {}
        for word in words[1:]:
            key, equals, value = word.partition("=")
            if word.startswith("--"):
                key, value = word[2:].partition("=")[::2]
                value = value or "true"
            elif not equals:
                raise QuestionError(f"{place}: {word!r} is not key=value")
            if "$" in word or "`" in word:
                raise QuestionError(f"{place}: {word!r} stands for something that only the shell knows")
            self.given[key] = value

    def take(self, *keys: str) -> str | None:
        """The value of the first of these keys that was given."""
        found = [self.given.pop(key) for key in keys if key in self.given]
        return found[0] if found else None

    def need(self, *keys: str) -> str:
        value = self.take(*keys)
        if value is None:
            raise QuestionError(f"{self.place}: {self.command} lacks {keys[0]}=")
        return value

    def size(self, *keys: str) -> str:
        text = self.need(*keys)
        try:
            return str(parse_size(text))
        except ValueError as error:
            raise QuestionError(f"{self.place}: {keys[0]}: {error}") from None

    def object(self, *names: str, uuids: tuple[str, ...] = ("uuid",)) -> dict[str, str]:
        """What a parameter selects, by uuid or by name."""
        uuid = self.take(*uuids)
        if uuid is not None:
            return {"uuid": uuid}
        name = self.need(*names)
        return {"uuid": name} if _UUID.fullmatch(name) else {"name_label": name}

    def flag(self, *keys: str) -> bool:
        return self.take(*keys) in ("true", "yes", "1", "t")

    def done(self) -> None:
        if self.given:
            raise QuestionError(f"{self.place}: {self.command} {min(self.given)}= is not known here")


_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VM: Final = ("vm", "name-label", "vm-name")
_HOST: Final = ("host", "name-label", "host-name")

Message = tuple[str, list[Any]]


def _messages(words: list[str], place: str) -> list[Message]:
    line = _Line(words, place)
    maker = _COMMANDS.get(line.command)
    if maker is None:
        known = ", ".join(sorted(_COMMANDS))
        raise QuestionError(f"{place}: xe {line.command}: not known here; known are {known}")
    messages = maker(line)
    line.done()
    return messages


def _plain(method: str, names: tuple[str, ...] = _VM) -> Callable[[_Line], list[Message]]:
    return lambda line: [(method, [line.object(*names)])]


def _forced(gentle: str, hard: str, names: tuple[str, ...] = _VM) -> Callable[[_Line], list[Message]]:
    def make(line: _Line) -> list[Message]:
        return [(hard if line.flag("force") else gentle, [line.object(*names)])]

    return make


def _begin(plain: str, on_host: str) -> Callable[[_Line], list[Message]]:
    def make(line: _Line) -> list[Message]:
        vm, on = line.object(*_VM), line.take("on", "on-host")
        paused, force = line.flag("paused", "start-paused"), line.flag("force")
        if on is None:
            return [(plain, [vm, paused, force])]
        return [(on_host, [vm, {"uuid" if _UUID.fullmatch(on) else "name_label": on}, paused, force])]

    return make


def _migrate(line: _Line) -> list[Message]:
    vm = line.object("vm", "name-label")
    host = line.object("host", "host-name", uuids=("host-uuid",))
    return [("VM.pool_migrate", [vm, host, {"live": "true" if line.flag("live") else "false"}])]


def _sizes(method: str, *keys: str) -> Callable[[_Line], list[Message]]:
    return lambda line: [(method, [line.object(*_VM), *(line.size(key) for key in keys)])]


def _set_params(class_name: str) -> Callable[[_Line], list[Message]]:
    def make(line: _Line) -> list[Message]:
        target = {"uuid": line.need("uuid")}
        messages: list[Message] = []
        for key in list(line.given):
            name, colon, entry = key.partition(":")
            field = name.replace("-", "_")
            known = CLASSES[class_name].fields.get(field)
            if known is None:
                continue
            value = line.given.pop(key)
            if colon and isinstance(known.type, MapType):
                messages.append((f"{class_name}.remove_from_{field}", [target, entry]))
                messages.append((f"{class_name}.add_to_{field}", [target, entry, value]))
            else:
                messages.append((f"{class_name}.set_{field}", [target, _typed(known.type.name, value, line, name)]))
        return messages

    return make


def _typed(kind: str, text: str, line: _Line, key: str) -> Any:
    try:
        match kind:
            case "int":
                return str(parse_size(text))
            case "bool":
                return text == "true"
            case "float":
                return float(text)
    except ValueError as error:
        raise QuestionError(f"{line.place}: {key}: {error}") from None
    return text


_COMMANDS: Final[dict[str, Callable[[_Line], list[Message]]]] = {
    "vm-migrate": _migrate,
    "vm-start": _begin("VM.start", "VM.start_on"),
    "vm-resume": _begin("VM.resume", "VM.resume_on"),
    "vm-shutdown": _forced("VM.clean_shutdown", "VM.hard_shutdown"),
    "vm-reboot": _forced("VM.clean_reboot", "VM.hard_reboot"),
    "vm-suspend": _plain("VM.suspend"),
    "vm-pause": _plain("VM.pause"),
    "vm-unpause": _plain("VM.unpause"),
    "vm-destroy": _plain("VM.destroy"),
    "vm-memory-set": _sizes("VM.set_memory", "memory"),
    "vm-memory-dynamic-range-set": _sizes("VM.set_memory_dynamic_range", "min", "max"),
    "vm-memory-static-range-set": _sizes("VM.set_memory_static_range", "min", "max"),
    "vm-memory-limits-set": _sizes("VM.set_memory_limits", "static-min", "static-max", "dynamic-min", "dynamic-max"),
    "vm-memory-target-set": lambda line: [
        ("VM.set_memory_dynamic_range", [line.object(*_VM), *[line.size("target")] * 2])
    ],
    "vm-param-set": _set_params("VM"),
    "host-param-set": _set_params("host"),
    "pool-param-set": _set_params("pool"),
    "host-disable": _plain("host.disable", _HOST),
    "host-enable": _plain("host.enable", _HOST),
    "host-evacuate": _plain("host.evacuate", _HOST),
    "host-reboot": _plain("host.reboot", _HOST),
    "host-shutdown": _plain("host.shutdown", _HOST),
    "pool-designate-new-master": lambda line: [
        ("pool.designate_new_master", [line.object("host", uuids=("host-uuid",))])
    ],
}
"""What each command of xe sends."""
