"""What notebooks show: numbers of the fleet, few rows of many, and names that stay text."""

from pathlib import Path

import pytest

from xenmem import Fleet, answers, planning, read
from xenmem.notebook import ROWS

FOUR_HOSTS = Path(__file__).resolve().parents[1] / "examples" / "four-hosts.json"
GIB = 1 << 30
NASTY = "<script>alert(1)</script>"


def many() -> Fleet:
    """A host of 64 GiB with a nasty name, and a hundred VMs of 1 GiB with such names, none of which runs."""
    return Fleet.from_columns(
        {"name": [NASTY] * 100, "memory": [GIB] * 100}, {"name": [NASTY], "memory_total": [64 * GIB]}
    )


def test_a_fleet_shows_its_hosts() -> None:
    html = many()._repr_html_()
    assert "&lt;Fleet: 1 pools, 1 hosts, 100 VMs&gt;" in html
    assert html.count("64GiB") == 4
    assert "<script" not in html


def test_tables_show_few_rows() -> None:
    html = many().vms._repr_html_()
    assert html.count("<tr>") == ROWS + 1
    assert "and 80 more" in html
    assert html.count('<td style="text-align: right">1GiB</td>') == 3 * ROWS
    assert "halted" in html
    assert "<script" not in html
    assert "&lt;SRs: 0 rows&gt;" in many().srs._repr_html_()


@pytest.mark.compiled
def test_plans_show_their_moves() -> None:
    fleet = read(FOUR_HOSTS)
    plan = answers.evacuate(fleet, fleet.host("delta"))
    html = plan._repr_html_()
    assert plan.verdict in html
    assert html.count('<td style="text-align: left">migrate</td>') == plan.migrations
    html = planning.evacuate(fleet, fleet.host("delta"))._repr_html_()
    assert "fewest-migrations: optimal" in html
    assert answers.failover(fleet, 0).verdict in answers.failover(fleet, 0)._repr_html_()
