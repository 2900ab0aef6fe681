"""Advice: what is amiss in a fleet, will fail or wastes memory, by rules that are each declared once (answers.checks).

A rule whose fields the inventory lacks is not run, and said not to be. Amounts are bytes. Nothing is changed.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from re import findall
from typing import Any, Final, Literal

import numpy as np
from msgspec import structs

from xenmem.answers.checks import hosts, memory, pools, records  # noqa: F401 - they declare the rules
from xenmem.answers.checks.rule import NEEDS, RULES, Measured, Question, Rule, Settings
from xenmem.answers.naming import (
    Answer,
    Named,
    Outcome,
    PoolHead,
    QuestionError,
    Result,
    identity,
    label,
    listed,
    pool_head,
)
from xenmem.columns import Table
from xenmem.fleet import Fleet
from xenmem.history.evidence import Terms, evidence
from xenmem.inventory.use import Use
from xenmem.planning.effort import Effort
from xenmem.text import counted
from xenmem.units import format_size

__all__ = ["DEFAULT_TIME_LIMIT", "Check", "Settings", "check", "rules"]

DEFAULT_TIME_LIMIT: Final = 30.0
IGNORE: Final = "xenmem:ignore="
"""A tag that begins so names rules that are not to be told of its object, joined by commas."""
_ORDER: Final = "EWI"
_KINDS: Final = {"vms": "VM", "hosts": "host", "pools": "pool", "vm_groups": "VM_group"}
FailOn = Literal["E", "W", "I", "never"]


class CheckFinding(Named, frozen=True):
    """Something that is amiss with an object.

    Attributes
    ----------
    rule : such as M04
    severity : E, W or I: an error, a warning, information
    kind : class of the object: VM, host, pool or VM_group
    title : what is amiss, in a few words
    text : the values that led to it, for people
    values : the same by name; amounts are bytes
    consequence : of leaving it so
    remedy : a command of xe, or what to do
    """

    rule: str
    severity: str
    kind: str
    title: str
    text: str
    values: dict[str, Any]
    consequence: str
    remedy: str


class CheckRule(Result, frozen=True):
    """A rule that was run.

    Attributes
    ----------
    rule, severity, title, consequence, source : of the rule
    findings : how many
    ignored : objects that it would have found, had not their tags said otherwise
    """

    rule: str
    severity: str
    title: str
    consequence: str
    source: str
    findings: int
    ignored: int


class NotRun(Result, frozen=True):
    """A rule that was not run, or not to its end.

    Attributes
    ----------
    pools : names of those for which it was not; empty: of all
    reason : what the inventory lacks, or why it was not decided
    """

    rule: str
    pools: list[str]
    reason: str


class PoolCheck(Result, frozen=True):
    """What was found in one pool, errors first, by rule."""

    pool: PoolHead
    findings: list[CheckFinding]


class Check(Answer, frozen=True):
    """What was found, the rules that were run, in their order, and those that were not."""

    pools: list[PoolCheck]
    rules: list[CheckRule]
    not_run: list[NotRun]


def rules() -> list[Rule]:
    """All rules, in the order of their names."""
    return sorted(RULES.values(), key=_place)


def _place(rule: Rule) -> tuple[int, int]:
    ((letters, number),) = findall(r"([A-Z]+)(\d+)", rule.name)
    return ("M", "H", "R", "A", "HA", "N", "P").index(letters), int(number)


def check(
    fleet: Fleet,
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    settings: Settings = Settings(),  # noqa: B008 - it never changes
    use: Iterable[Use] | None = None,
    fail_on: FailOn = "E",
    time_limit: float | None = DEFAULT_TIME_LIMIT,
) -> Check:
    """What is amiss in a fleet.

    Parameters
    ----------
    only, without : names of rules that alone are run, or that are not; a letter or two stand for all that begin so
    settings : what operators decide
    use : what VMs were measured to use, as inventory.use gives it; None leaves M08 and M09 out
    fail_on : the outcome is ``no`` if there are findings so bad or worse
    time_limit : seconds for the planners that some rules ask; None: none

    Raises
    ------
    QuestionError : there is no such rule
    """
    chosen = _named(only) if only else set(RULES)
    chosen -= _named(without)
    measured = None if use is None else _measured(fleet, use)
    question = Question(fleet, settings, measured, Effort(time_limit))
    every: list[tuple[int, CheckFinding]] = []
    ran: list[CheckRule] = []
    not_run: list[NotRun] = []
    told = {name: need.is_told(question) for name, need in NEEDS.items()}
    for rule in (rule for rule in rules() if rule.name in chosen):
        asked = np.ones(len(fleet.pools), np.bool_)
        for name in rule.needs:
            lacking = np.flatnonzero(asked & ~told[name])
            if len(lacking):
                names = [fleet.pools.label(pool) or fleet.pools.source[pool] for pool in lacking.tolist()]
                all_lack = len(lacking) == len(fleet.pools)
                not_run.append(NotRun(rule.name, [] if all_lack else names, NEEDS[name].lacking))
            asked &= told[name]
        if not asked.any():
            continue
        own, ignored = _ask(question, rule, asked)
        not_run += [NotRun(rule.name, [], reason) for reason in dict.fromkeys(question.undecided)]
        question.undecided.clear()
        every += own
        ran.append(CheckRule(rule.name, rule.severity, rule.title, rule.consequence, rule.source, len(own), ignored))
    by_pool: list[list[CheckFinding]] = [[] for _ in range(len(fleet.pools))]
    for pool, finding in sorted(every, key=lambda one: _ORDER.index(one[1].severity)):
        by_pool[pool].append(finding)
    checked = [PoolCheck(pool_head(fleet, pool), found) for pool, found in enumerate(by_pool)]
    return _of_pools(checked, ran, not_run, fail_on)


def joined(parts: Sequence[Check], *, fail_on: FailOn = "E") -> Check:
    """What is amiss in all pools, from what is in some each."""
    checked = [pool for part in parts for pool in part.pools]
    ran: dict[str, CheckRule] = {}
    lacking: dict[tuple[str, str], list[str]] = {}
    everywhere: dict[tuple[str, str], int] = {}
    for part in parts:
        for rule in part.rules:
            before = ran.get(rule.rule)
            ran[rule.rule] = (
                rule
                if before is None
                else structs.replace(
                    before, findings=before.findings + rule.findings, ignored=before.ignored + rule.ignored
                )
            )
        own = [label(pool.pool) or pool.pool.source for pool in part.pools]
        for one in part.not_run:
            key = one.rule, one.reason
            everywhere[key] = everywhere.get(key, 0) + (not one.pools)
            lacking.setdefault(key, []).extend(one.pools or own)
    order = [rule.name for rule in rules()]
    not_run = [
        NotRun(rule, [] if everywhere[rule, reason] == len(parts) else names, reason)
        for (rule, reason), names in sorted(lacking.items(), key=lambda item: order.index(item[0][0]))
    ]
    return _of_pools(checked, [ran[name] for name in order if name in ran], not_run, fail_on)


def _of_pools(checked: list[PoolCheck], ran: list[CheckRule], not_run: list[NotRun], fail_on: FailOn) -> Check:
    return Check(
        verdict=_verdict(ran, not_run), outcome=_outcome(ran, fail_on), pools=checked, rules=ran, not_run=not_run
    )


def _measured(fleet: Fleet, uses: Iterable[Use]) -> dict[str, Measured]:
    """What of the measurements rules ask for, of the VMs of a fleet."""
    vms, found = fleet.vms, {}
    row_of = {uuid: row for row, uuid in enumerate(vms.uuid.tolist())}
    for use in uses:
        if (row := row_of.get(use.uuid)) is None:
            continue
        most = int(vms.memory_dynamic_max[row])
        told = evidence(use, Terms(), int(vms.memory_dynamic_min[row]), most)
        targets = np.concatenate([rows.memory_target for rows in use.rows.values()] or [np.zeros(0)])
        targets = targets[~np.isnan(targets)]
        full = len(targets) > 0 and bool((targets == most).all())
        found[use.uuid] = Measured(None if told is None or told.lacks else told.p95, full)
    return found


def _named(names: Collection[str]) -> set[str]:
    """The rules of these names, or whose names begin so."""
    found = set()
    for name in names:
        wanted = name.upper()
        of_kind = {rule for rule in RULES if rule == wanted or (rule.startswith(wanted) and wanted.isalpha())}
        of_kind = {rule for rule in of_kind if rule == wanted or rule[len(wanted) :].isdigit()}
        if not of_kind:
            known = ", ".join(rule.name for rule in rules())
            raise QuestionError(f"rule: {name!r} is none of {known}")
        found |= of_kind
    return found


class _Shown(int):
    """A number in a text; ``size`` writes it as an amount."""

    def __format__(self, spec: str) -> str:
        return format_size(self) if spec == "size" else str(int(self))


def _ask(question: Question, rule: Rule, asked: Any) -> tuple[list[tuple[int, CheckFinding]], int]:
    """What a rule finds in the pools of which it is asked, each with its pool, and how many objects want it ignored."""
    fleet = question.fleet
    table: Table = getattr(fleet, rule.about)
    found = rule.find(question)
    columns = list(found.values.items())
    of_pool = np.arange(len(table)) if rule.about == "pools" else getattr(fleet, rule.about).pool
    tags = getattr(table, "tags", None)
    answer: list[tuple[int, CheckFinding]] = []
    ignored = 0
    for place, row in enumerate(found.rows):
        pool = int(of_pool[row])
        if not asked[pool]:
            continue
        if tags is not None and tags[row] and _is_ignored(rule.name, tags[row]):
            ignored += 1
            continue
        values = {name: column[place] for name, column in columns}
        shown = {name: _Shown(value) if type(value) is int else value for name, value in values.items()}
        shown["uuid"] = table.uuid[row] or table.ref[row]
        answer.append(
            (
                pool,
                CheckFinding(
                    **identity(table, row),
                    rule=rule.name,
                    severity=rule.severity,
                    kind=_KINDS[rule.about],
                    title=rule.title,
                    text=rule.text.format_map(shown),
                    values=values,
                    consequence=rule.consequence,
                    remedy=rule.remedy.format_map(shown),
                ),
            )
        )
    return answer, ignored


def _is_ignored(name: str, tags: Collection[str]) -> bool:
    return any(name in tag.removeprefix(IGNORE).replace(" ", "").split(",") for tag in tags if tag.startswith(IGNORE))


def _outcome(ran: list[CheckRule], fail_on: FailOn) -> Outcome:
    bad = _ORDER[: _ORDER.index(fail_on) + 1] if fail_on != "never" else ""
    return "no" if any(rule.findings and rule.severity in bad for rule in ran) else "yes"


def _verdict(ran: list[CheckRule], not_run: list[NotRun]) -> str:
    number = Counter(dict.fromkeys(_ORDER, 0))
    names: dict[str, list[str]] = {severity: [] for severity in _ORDER}
    for rule in ran:
        if rule.findings:
            number[rule.severity] += rule.findings
            names[rule.severity].append(rule.rule)
    nouns = {"E": "error", "W": "warning", "I": "remark"}
    parts = [
        f"{counted(number[severity], nouns[severity])} ({listed(names[severity])})"
        for severity in _ORDER
        if number[severity]
    ]
    left = len({one.rule for one in not_run})
    rest = f"; {counted(left, 'rule was', 'rules were')} not run, or not to the end" if left else ""
    if not parts:
        return f"Nothing is amiss by {counted(len(ran), 'rule')}{rest}."
    return f"{', '.join(parts)}{rest}."
