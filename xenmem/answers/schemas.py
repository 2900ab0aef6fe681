"""The JSON Schema of what each command prints with `--format json`, made of the types of the answers."""

from typing import Any, Final

import msgspec

from xenmem import answers
from xenmem.answers.naming import FORMAT_VERSION, QuestionError

_ANSWERS: Final = {
    "report": "Report",
    "check": "Check",
    "explain": "Explanation",
    "maximise": "Maximum",
    "fit": "Fit",
    "upgrade-check": "UpgradeCheck",
    "matrix": "Matrix",
    "place": "Placement",
    "pack": "MovePlan",
    "evacuate": "MovePlan",
    "consolidate": "MovePlan",
    "rebalance": "MovePlan",
    "rolling-update": "RollingPlan",
    "failover": "Survival",
    "capacity": "CapacityReport",
    "balloon": "BalloonReport",
    "watch": "WatchedHost",
    "what-if": "WhatIf",
    "history": "Changes",
    "runway": "Runway",
    "rightsize": "Rightsizing",
    "convert": "Conversion",
    "messages": "Declarations",
    "info": "Installation",
    "warm-up": "WarmUpReport",
}


def schema(command: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a command's answer.

    Raises
    ------
    QuestionError : there is no such command, or it has no JSON
    """
    if command not in _ANSWERS:
        raise QuestionError(f"{command!r} is none of {', '.join(_ANSWERS)}")
    name = _ANSWERS[command]
    made = msgspec.json.schema(getattr(answers, name))
    top = made["$defs"][name]
    led = {"format_version": {"const": FORMAT_VERSION}, "command": {"const": command}}
    top["properties"] = led | top["properties"]
    top["required"] = [*led, *top["required"]]
    top.pop("description", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"xenmem {command}", **made}
