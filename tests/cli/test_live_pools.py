"""Commands that ask a pool that runs, as processes of their own, over TLS; and how they end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_pools import PoolServer, answering, http, success
from servers import EXAMPLE, PASSWORD, Served, served
from terminals import drained, terminal

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example pool over TLS, each host at an address of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:  # all hosts have the same port, so it has to be a known one
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    with served(tmp_path_factory.mktemp("server"), "--tls", "--members", "--listen", listen) as made:
        yield made


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    changing = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "XENMEM_INVENTORY", "XENMEM_PASSWORD")
    inherited = {name: value for name, value in os.environ.items() if name not in changing}
    return inherited | {"XENMEM_CONFIG": os.devnull, "XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    def run(*arguments: object, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "xenmem", *map(str, arguments)],
            input="",
            text=True,
            capture_output=True,
            cwd=tmp_path,
            env=environment | more,
            timeout=120,
            check=False,
        )

    return run


def certificate(server: Served, folder: Path) -> str:
    """The server's, in a file."""
    text = "\n".join(server.told)
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    path = folder / "ca.pem"
    path.write_text(text[text.index(begin) : text.index(end) + len(end)] + "\n")
    return str(path)


def bare(printed: str) -> Any:
    """A report without what says where it was read, or tells of operations, which a pool that is loaded has none of."""
    report = json.loads(printed)
    report.pop("notes")
    for pool in report["pools"]:
        pool.pop("warnings")
        for name in ("source", "format", "schema"):
            pool["pool"].pop(name)
    return report


def test_a_report_is_that_of_the_dump(server: Served, run: Run, password: Path, tmp_path: Path) -> None:
    """But for where it was read; asked at a member, it comes from the coordinator."""
    ca = ("--ca", certificate(server, tmp_path), "--password-file", password)
    stored = bare(run("report", EXAMPLE, "--vms", "--format", "json").stdout)
    port = server.address[1]
    for address in (server.url.replace("://", "://root@"), f"xapi://127.0.0.2:{port}"):
        done = run("report", address, "--vms", "--format", "json", *ca)
        assert (done.returncode, done.stderr) == (0, "")
        assert bare(done.stdout) == stored
    assert PASSWORD not in server.log()


def test_other_commands(server: Served, run: Run, password: Path, tmp_path: Path) -> None:
    ca = ("--ca", certificate(server, tmp_path), "--password-file", password)
    script = tmp_path / "script.jsonl"
    script.write_text('{"method": "VM.get_all", "params": []}\n')
    for arguments in (("what-if", server.url, script), ("fit", server.url, "--memory", "1GiB", "--vcpus", "1")):
        done = run(*arguments, *ca)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_profile(server: Served, run: Run, password: Path, tmp_path: Path) -> None:
    folder = tmp_path / "config" / "xenmem"
    folder.mkdir(parents=True)
    ca = certificate(server, tmp_path)
    (folder / "pools.toml").write_text(
        f'[lab]\naddress = ["https://127.0.0.1:1", "{server.url}"]\nca = "{ca}"\npassword-file = "{password}"\n'
    )
    done = run("report", "lab")
    assert (done.returncode, done.stderr) == (0, "")
    assert server.url in run("report", "lab", "--format", "json").stdout or "https://127.0.0.1:1" in done.stdout


def test_what_is_wrong(server: Served, run: Run, password: Path, tmp_path: Path) -> None:
    """One line, and status 2; 3 where nobody answers. No password is in it."""
    ca = ("--ca", certificate(server, tmp_path))
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2\n")
    wrong.chmod(0o600)
    named = ("--password-file", password)

    def cut_short(message: str, parameters: list[Any], number: int) -> bytes:
        answer = success("OpaqueRef:session", number)
        return answer if message.startswith("session.") else answer.replace(b"content-length", b"Content-Length")[:-9]

    with (
        answering(lambda *call: http(b"<html>", "text/html", "404 Not Found")) as (no_xapi, _),
        answering(cut_short) as (broken, _),
    ):
        cases: list[tuple[tuple[object, ...], int, str]] = [
            ((server.url, *named), 2, "shows a certificate of no known authority, sha256:"),
            ((server.url, *named, "--fingerprint", "00" * 32), 2, "shows a certificate with another fingerprint"),
            ((server.url, "--password-file", wrong, *ca), 2, "the password, or the user root, is wrong"),
            ((server.url, *ca), 2, "needs the password of root: --password-file FILE"),
            ((no_xapi, *named), 2, "is no xapi: a message is answered with 'status 404'"),
            ((broken, *named), 2, "the answer was cut short after "),
            (("https://127.0.0.1:1", *named), 3, "cannot be reached: Connection refused"),
            (("https://root:hunter2@127.0.0.1", *named), 2, "holds a password"),
        ]
        for command in ("report", "watch"):
            for arguments, status, expected in cases:
                done = run(command, *arguments)
                assert (done.returncode, done.stdout) == (status, ""), done.stderr
                assert done.stderr.startswith("xenmem: error: ")
                assert expected in done.stderr
                assert len(done.stderr.splitlines()) == 1
                assert "hunter2" not in done.stderr
                assert PASSWORD not in done.stderr


def test_insecure_is_said(server: Served, run: Run) -> None:
    done = run("report", server.url, "--insecure", XENMEM_PASSWORD=PASSWORD)
    assert done.returncode == 0
    assert done.stderr.startswith("xenmem: warning: ")
    assert "(--insecure)" in done.stdout
    assert "(--insecure)" in done.stderr


def test_somebody_at_a_terminal_is_asked(server: Served, environment: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = terminal(80)
    asked = subprocess.Popen(
        [sys.executable, "-m", "xenmem", "report", server.url, "--format", "ndjson"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=tmp_path,
        env=environment,
    )
    os.close(theirs)
    said = read_until(ours, "Trust it from now on?")
    os.write(ours, b"y\n")
    said += read_until(ours, "Password of root")
    time.sleep(0.3)  # until it reads: what is typed before is thrown away
    os.write(ours, f"{PASSWORD}\n".encode())
    answer = asked.communicate(timeout=60)[0]
    said += drained(ours)
    assert asked.returncode == 0, said
    assert len(answer.splitlines()) == 4
    assert PASSWORD not in said
    assert server.url.partition("://")[2] in (tmp_path / "config" / "xenmem" / "known_hosts").read_text()


def read_until(terminal: int, text: str) -> str:
    """What appears on a terminal, up to a text."""
    seen = ""
    while text not in seen:
        seen += os.read(terminal, 1 << 16).decode(errors="replace")
    return seen


def watching(server: Served, environment: dict[str, str], **streams: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "xenmem", "watch", server.url, "--accept-new", "--interval", "0.1"],
        stdin=subprocess.DEVNULL,
        env=environment | {"XENMEM_PASSWORD": PASSWORD},
        **streams,
    )


def test_watch_in_a_pipe(server: Served, environment: dict[str, str]) -> None:
    session = log_in(server)
    host = call(server, "host.get_all", session)[0]
    watched = watching(server, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert watched.stdout is not None
    first = [json.loads(watched.stdout.readline()) for _ in range(4)]
    assert {one["operation"] for one in first} == {"add"}
    assert {one["command"] for one in first} == {"watch"}
    call(server, "host.disable", session, host)
    changed = json.loads(watched.stdout.readline())
    assert (changed["operation"], changed["changed"]) == ("mod", ["enabled"])
    assert (changed["host"]["ref"], changed["host"]["enabled"]) == (host, False)
    call(server, "host.enable", session, host)
    assert json.loads(watched.stdout.readline())["host"]["enabled"]
    watched.send_signal(signal.SIGINT)
    assert watched.communicate(timeout=30) == (b"", b"")
    assert watched.returncode == 0


def test_watch_until_nobody_reads(server: Served, environment: dict[str, str]) -> None:
    session = log_in(server)
    host = call(server, "host.get_all", session)[0]
    watched = watching(server, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert watched.stdout is not None
    assert watched.stderr is not None
    watched.stdout.readline()
    watched.stdout.close()
    deadline = time.monotonic() + 30
    while watched.poll() is None and time.monotonic() < deadline:
        for message in ("host.disable", "host.enable"):
            call(server, message, session, host)
            time.sleep(0.3)
    assert (watched.returncode, watched.stderr.read()) == (0, b"")
    watched.stderr.close()


def test_watch_on_a_terminal(server: Served, environment: dict[str, str]) -> None:
    session = log_in(server)
    host = call(server, "host.get_all", session)[0]
    name = call(server, "host.get_name_label", session, host)
    ours, theirs = terminal(100)
    watched = watching(server, environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = read_until(ours, name)
    call(server, "host.disable", session, host)
    shown += read_until(ours, "(disabled)")
    call(server, "host.enable", session, host)
    watched.send_signal(signal.SIGTERM)
    shown += drained(ours)
    assert watched.wait(timeout=30) == 0
    assert "\x1b[7" in shown or ";7m" in shown  # reverse: what changed
    assert shown.rstrip().endswith("\x1b[?25h")  # the cursor is back
    assert "4 hosts" in shown


def test_watch_ends_where_another_pool_is(environment: dict[str, str], tmp_path: Path) -> None:
    pool = PoolServer(EXAMPLE.parent / "four-hosts.json")
    with answering(pool) as (url, _):
        watched = subprocess.Popen(
            [sys.executable, "-m", "xenmem", "watch", url, "--interval", "0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment | {"XENMEM_PASSWORD": PASSWORD},
        )
        assert watched.stdout is not None
        watched.stdout.readline()
        pool.load(EXAMPLE.parent / "three-hosts.json")
        pool.valid.clear()
        said = watched.communicate(timeout=60)[1].decode()
        pool.closing.set()
    assert watched.returncode == 2
    assert said.startswith(f"xenmem: error: {url}: is the pool ")
    assert len(said.splitlines()) == 1


def test_watch_writes_no_file(server: Served, run: Run, tmp_path: Path) -> None:
    done = run("watch", server.url, "-o", tmp_path / "file")
    assert (done.returncode, done.stdout) == (2, "")
    assert "watch has no end to write a file at" in done.stderr
    done = run("watch", EXAMPLE)
    assert done.returncode == 2
    assert "is neither the address of a pool" in done.stderr


def call(server: Served, message: str, *parameters: Any) -> Any:
    """An answer over TLS, for which the certificate does not matter here."""
    import XenAPI

    session = XenAPI.Session(server.url, ignore_ssl=True)
    try:
        answer = getattr(session, message)(*parameters)
    finally:
        session("close")()
    assert answer["Status"] == "Success", answer
    return answer["Value"]


def log_in(server: Served) -> str:
    return str(call(server, "session.login_with_password", "root", PASSWORD))
