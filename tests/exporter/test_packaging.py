"""Alerts and dashboard: they ask of metrics that are there, by labels that these have, and say what is documented."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import xenmem
from xenmem.exporter.metrics import Asked, openmetrics

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "packaging" / "prometheus" / "xenmem.rules.yml").read_text()
DASHBOARD: dict[str, Any] = json.loads((ROOT / "packaging" / "grafana" / "xenmem.json").read_text())
PAGE = (ROOT / "docs" / "how-to" / "metrics.md").read_text()
OF_OTHERS = ("xcp_",)


def queries() -> list[str]:
    return [
        *re.findall(r"expr: (?:\|\n)?(.*?)\n +(?:for|labels):", RULES, re.DOTALL),
        *(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]),
    ]


@pytest.mark.compiled
def test_they_ask_of_what_there_is() -> None:
    found: dict[str, set[str]] = {}
    text = openmetrics(xenmem.read(ROOT / "examples" / "four-hosts.json"), 5, Asked(per_vm=True))
    for name, labels in re.findall(r"^(xenmem_\w+)\{(.*)\} ", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    assert len(queries()) > 30
    for query in queries():
        asked = re.findall(r"\b(xenmem_\w+)(?:\{(.*?)\})?", query)
        assert asked, query
        for name, selectors in asked:
            assert name in found or name == "xenmem_host_memory_measured_free_bytes", query
            assert set(re.findall(r"(\w+)=~?\"", selectors)) <= found.get(name, set(re.findall(r"\w+", selectors))), (
                query
            )
        assert all(name.startswith(OF_OTHERS) for name in re.findall(r"\bx(?!enmem_)\w+_bytes", query))


def test_every_alert_says_what_is_documented() -> None:
    alerts = re.findall(r"alert: (\w+)\n.*?(?:for: (\w+)\n +)?labels: \{severity: (\w+)\}", RULES, re.DOTALL)
    assert len(alerts) == RULES.count("- alert:")
    documented = {
        name: (wait, severity)
        for names, wait, severity in re.findall(r"^\| (`Xen.*?) \| .*? \| (\w*) ?\| (\w+) \|$", PAGE, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    assert {name: (wait, severity) for name, wait, severity in alerts} == documented


def test_the_dashboard_is_one_page_without_gaps() -> None:
    taken: dict[tuple[int, int], int] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["id"]) == panel["id"]
    height = 1 + max(y for _, y in taken)
    assert len(taken) == 24 * height
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "pool", "policy", "size"]
    used = set(re.findall(r"\$(\w+)", json.dumps(DASHBOARD["panels"])))
    assert used <= {"datasource", "pool", "policy", "size"} | {"{datasource}"}


def test_the_unit_of_systemd_runs_the_command() -> None:
    unit = (ROOT / "packaging" / "xenmem-exporter.service").read_text()
    (command,) = re.findall(r"^ExecStart=\S+/xenmem (.*?)\n[A-Z]", unit, re.MULTILINE | re.DOTALL)
    from xenmem.cli.exporter import exporter

    words = command.replace("\\\n", " ").split()
    assert words[0] == "exporter"
    context = exporter.make_context("exporter", words[1:])
    assert context.params["inventories"] == ("https://monitor@pool.example",)
