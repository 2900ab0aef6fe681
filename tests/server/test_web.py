"""The live page of `serve --web`: only for who logs in, current, in no client's way; its questions change nothing."""

import base64
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import PASSWORD, USER, Served, request, served, split

pytestmark = pytest.mark.slow

LIST = b"<methodCall><methodName>system.listMethods</methodName><params/></methodCall>"


def basic(password: str = PASSWORD) -> str:
    return f"authorization: Basic {base64.b64encode(f'{USER}:{password}'.encode()).decode()}"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example pool, with its page."""
    with served(tmp_path_factory.mktemp("web"), "--web", "--pace", "jump") as made:
        yield made


@pytest.fixture(scope="module")
def cookie(web: Served) -> str:
    """The header of somebody who is logged in."""
    _, headers, _ = split(web.send(request("GET", "/", None, basic()), seconds=120))
    return f"cookie: {headers['set-cookie'].partition(';')[0]}"


def ask(web: Served, cookie: str, question: Any, *lines: str) -> tuple[int, dict[str, Any]]:
    sent = request("POST", "/what-if", json.dumps(question).encode(), cookie, *lines)
    status, _, body = split(web.send(sent, seconds=120))
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("method", "path", "body"), [("GET", "/", None), ("GET", "/page.json?0", None), ("POST", "/what-if", b"{}")]
)
@pytest.mark.parametrize("line", ["", basic("wrong"), "authorization: Basic x", "cookie: xenmem_session=OpaqueRef:x"])
def test_nothing_without_a_login(web: Served, method: str, path: str, body: bytes | None, line: str) -> None:
    status, headers, answered = split(web.send(request(method, path, body, *filter(None, [line])), seconds=30))
    assert status == 401
    assert headers["www-authenticate"].startswith("Basic")
    assert b"xen01" not in answered


def test_the_page(web: Served) -> None:
    status, headers, body = split(web.send(request("GET", "/", None, basic()), seconds=120))
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["x-frame-options"] == "DENY"
    assert re.fullmatch(
        r"xenmem_session=OpaqueRef:[0-9a-f-]+; Path=/; HttpOnly; SameSite=Strict", headers["set-cookie"]
    )
    text = body.decode()
    assert "xen02.stage.example is overcommitted by 5.62GiB" in text
    assert "connect-src 'self'" in text
    assert '<h2 id="what-if">What if</h2>' in text


def test_a_change_comes_to_the_page(web: Served, cookie: str) -> None:
    def update(since: str) -> dict[str, Any]:
        answer = web.send(request("GET", f"/page.json?{since}", None, cookie), seconds=120)
        told: dict[str, Any] = json.loads(split(answer)[2])
        return told

    first = update("")
    assert first["tables"][0]["name"] == "hosts"
    assert update(first["version"]) == {"version": first["version"]}
    session = web.log_in()
    host = web.call("host.get_by_name_label", session, "xen01.par.example")[0]
    web.call("host.set_name_label", session, host, "<b>renamed</b>")
    end = time.monotonic() + 30
    while (told := update(first["version"])) == {"version": first["version"]} and time.monotonic() < end:
        time.sleep(0.2)
    assert "&lt;b&gt;renamed&lt;/b&gt;" in told["summary"]
    assert "<b>renamed</b>" in told["tables"][0]["columns"][0]["words"]
    web.call("host.set_name_label", session, host, "xen01.par.example")


@pytest.mark.compiled
def test_questions_are_answered_and_change_nothing(web: Served, cookie: str) -> None:
    session = web.log_in()
    before = web.call("VM.get_all_records", session)
    status, told = ask(web, cookie, {"add": {"memory": "1GiB", "count": 2}}, "content-type: application/json")
    assert status == 200
    assert "2 of 2 new VMs of 1GiB and 1 vCPU have room." in told["html"]
    assert told["tables"][0]["rows"] == 2
    assert web.call("VM.get_all_records", session) == before


def test_bad_questions(web: Served, cookie: str) -> None:
    status, told = ask(web, cookie, {"fail": ["nowhere"]}, "content-type: application/json")
    assert status == 400
    assert "nowhere" in told["error"]
    status, told = ask(web, cookie, {}, "content-type: text/plain")
    assert (status, told["error"]) == (400, "the question is not application/json")


def test_clients_get_what_they_always_got(web: Served, server: Served) -> None:
    for sent in (request("POST", "/", LIST), request("GET", "/nonsense"), request("GET", "/health")):
        with_page, without = (split(one.send(sent)) for one in (web, server))
        assert (with_page[0], with_page[2]) == (without[0], without[2])
    status, headers, body = split(server.send(request("GET", "/")))
    assert (status, headers["content-type"]) == (200, "text/html")
    assert b"XenAPI clients talk to it" in body


def test_it_ends_with_the_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(tmp_path_factory.mktemp("ends"), "--web") as made:
        assert split(made.send(request("GET", "/", None, basic()), seconds=120))[0] == 200
        began = time.monotonic()
        assert made.stop() == 0
        assert time.monotonic() - began < 20
    assert "Traceback" not in made.log()


def test_nothing_is_left_of_a_server_that_is_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    def parent(process: Path) -> int:
        try:
            return int(process.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return 0

    with served(tmp_path_factory.mktemp("killed"), "--web") as made:
        made.send(request("GET", "/", None, basic()), seconds=120)
        beside = [path for path in Path("/proc").glob("[0-9]*") if parent(path) == made.process.pid]
        assert beside
        made.stop(signal.SIGKILL)
        end = time.monotonic() + 20
        while any(map(Path.exists, beside)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not [path for path in beside if path.joinpath("exe").exists()]
