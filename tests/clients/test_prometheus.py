"""Prometheus and promtool of Debian: they check the alerts, scrape an exporter, and answer the dashboard's queries."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from clients_at import CLIENTS
from servers import PASSWORD, served

ROOT = Path(__file__).resolve().parents[2]
PROMTOOL, PROMETHEUS = (CLIENTS / "prometheus" / "usr" / "bin" / name for name in ("promtool", "prometheus"))
RULES = ROOT / "packaging" / "prometheus" / "xenmem.rules.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "packaging" / "grafana" / "xenmem.json").read_text())
VARIABLES = {"$pool": ".*", "$policy": "static_max", "$size": "4GiB"}
FOUR = ROOT / "examples" / "four-hosts.json"

SERIES = {
    'pool_failures_survivable{POOL,protected="all",policy="static_max",planner="xenmem"}': "0x60",
    'pool_failures_survivable{POOL,protected="ha",policy="static_max",planner="xenmem"}': "1x60",
    "pool_ha_failures_to_tolerate{POOL}": "2x60",
    "pool_ha_overcommitted{POOL}": "1x60",
    "inventory_timestamp_seconds{POOL}": "-7200x60",
    'pool_vms_fit{POOL,size="4GiB",vcpus="2",failures="1"}': "0x90",
    'host_evacuable{HOST,planner="xapi"}': "0x90",
    "host_enabled{HOST}": "1x90",
    'host_evacuable{OTHER,planner="xapi"}': "0x90",
    "host_enabled{OTHER}": "0x90",
    'host_memory_overcommitted_bytes{HOST,policy="dynamic_min"}': "1073741824x60",
    'host_memory_free_bytes{HOST,policy="dynamic_max"}': "10x90",
    "host_memory_measured_free_bytes{HOST}": "4x90",
    "host_memory_total_bytes{HOST}": "100x90",
}
"""What promtool is given: a minute each; of HOST and OTHER, the second is disabled."""

LABELS = {
    "HOST": 'POOL,uuid="h",host_name="h"',
    "OTHER": 'POOL,uuid="o",host_name="o"',
    "POOL": 'pool_uuid="p",pool_name="p"',
}
FIRED = {
    "XenPoolNPlusOneLost": ("20m", 1),
    "XenPoolProtectionLost": ("20m", 1),
    "XenHostOvercommitted": ("10m", 1),
    "XenPoolHAOvercommitted": ("10m", 1),
    "XenInventoryStale": ("15m", 1),
    "XenPoolNoRoomForStandardVM": ("80m", 1),
    "XenHostNotEvacuable": ("80m", 1),
    "XenHostAccountingOff": ("80m", 1),
    "XenHostDisabled": ("1m", 1),
    "XenInventoryAbsent": ("20m", 0),
}


@pytest.mark.client("Prometheus", "2.42")
def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    done = subprocess.run([PROMTOOL, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"SUCCESS: {RULES.read_text().count('- alert:')} rules found" in done.stdout


@pytest.mark.client("Prometheus", "2.42")
@pytest.mark.parametrize("name", FIRED)
def test_an_alert_fires_when_it_should(name: str, tmp_path: Path) -> None:
    """promtool compares all that fires: asked of nothing, it tells what does."""
    when, count = FIRED[name]
    series = [{"series": f"xenmem_{text}", "values": values} for text, values in SERIES.items()]
    asked = [{"eval_time": when, "alertname": name, "exp_alerts": []}]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": asked}
    text = json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]})
    for token, labels in LABELS.items():
        text = text.replace(token, json.dumps(labels)[1:-1])
    file = tmp_path / "test.yml"
    file.write_text(text)  # JSON is YAML
    done = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    fired = re.findall(rf'alertname="{name}"', told)
    assert (done.returncode == 0) == (count == 0), told
    assert len(fired) == count, told


def query(url: str, expression: str) -> list[Any]:
    asked = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{url}/api/v1/query?{asked}", timeout=30) as answer:
        found = json.load(answer)
    assert found["status"] == "success"
    result: list[Any] = found["data"]["result"]
    return result


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
@pytest.mark.client("Prometheus", "2.42")
def test_prometheus_scrapes_an_exporter_and_answers_the_dashboard(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    with served(tmp_path, "--pace", "jump", inventories=(FOUR,)) as server:
        command = [sys.executable, "-m", "xenmem", "exporter", server.url.replace("://", "://root@"), "--insecure"]
        exporter = subprocess.Popen(
            [*command, "--password-file", password, "--listen", "127.0.0.1:0", "--per-vm"],
            stdout=subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ,
        )
        assert exporter.stdout is not None
        (target,) = re.findall(r"http://(127\.0\.0\.1:\d+)/metrics", exporter.stdout.readline().decode())
        config = tmp_path / "prometheus.yml"
        config.write_text(
            f"rule_files: [{RULES}]\n"
            "scrape_configs:\n"
            f"  - {{job_name: xenmem, scrape_interval: 1s, static_configs: [{{targets: ['{target}']}}]}}\n"
        )
        log = tmp_path / "prometheus.log"
        options = f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data", "--log.level=warn"
        port = 20000 + os.getpid() % 20000
        with log.open("wb") as written:
            prometheus = subprocess.Popen(
                [PROMETHEUS, *options, f"--web.listen-address=127.0.0.1:{port}"],
                stderr=written,
            )
        try:
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
            found: list[Any] = []
            while not found and time.monotonic() < end:
                time.sleep(1)
                assert prometheus.poll() is None, log.read_text()
                try:
                    found = query(url, "count_over_time(xenmem_pool_margin_bytes[5m]) > 2")
                except OSError:
                    continue
            assert found, log.read_text()
            for panel in DASHBOARD["panels"]:
                for one in panel["targets"]:
                    expression = one["expr"]
                    for name, value in VARIABLES.items():
                        expression = expression.replace(name, value)
                    answered = query(url, expression)
                    # what another exporter measures is not here, nor has the pool an HA that tolerates failures
                    is_empty = (
                        "xcp_" in expression or "_ha_failures_to_tolerate" in expression or "measured" in expression
                    )
                    assert bool(answered) != is_empty, (panel["title"], expression)
            (hosts,) = query(url, 'count(xenmem_host_enabled{pool_name=~".*"})')
            assert hosts["value"][1] == "4"
            assert [one["value"][1] for one in query(url, "up")] == ["1"]
            assert "error" not in log.read_text().lower()
        finally:
            for process in (prometheus, exporter):
                process.kill()
                process.wait()
            exporter.stdout.close()
