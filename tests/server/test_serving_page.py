"""What docs/how-to/serving.md shows runs as it stands."""

import re
from pathlib import Path

import pytest
from servers import PASSWORD, Served

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def test_the_script_of_the_page(server: Served, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "how-to" / "serving.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope = {"password": PASSWORD}
    exec(script.replace("http://127.0.0.1:8080", server.url), scope)
    scope["session"]._ServerProxy__close()  # type: ignore[attr-defined]
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("could start on ") for line in printed)
    assert any(line.startswith("could not: HOST_NOT_ENOUGH_FREE_MEMORY ") for line in printed)
    assert printed[-1] in ("pending", "success")


def test_packaging_names_options_that_exist() -> None:
    from xenmem.cli.serve import serve

    known = {option for parameter in serve.params for option in parameter.opts}
    for name in ("Dockerfile", "xenmem.service"):
        used = set(
            re.findall(
                r"(?<![\w-])--(?:listen|tls|tls-cert|tls-key|password-file|state)\b",
                (ROOT / "packaging" / name).read_text(),
            )
        )
        assert used <= known
        assert "--password-file" in used
