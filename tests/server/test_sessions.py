"""Who may do what: users and roles by a password file, members, read-only, TLS, and what changes on SIGHUP."""

import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xmlrpc.client import dumps, loads

import pytest
from servers import LINE, PASSWORD, USER, Served, read_all, request, served, split
from XenAPI import Failure

from xenmem.server import passwords

pytestmark = pytest.mark.slow

USERS = f"root:pool-admin:{LINE}\nops:vm-operator:{LINE}\n\n# nobody else but\nviewer:read-only:{LINE}\n"


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Served:
    with served(tmp_path_factory.mktemp("roles"), users=USERS) as made:
        yield made


def failure(server: Served, method: str, *parameters: object, address: tuple[str, int] | None = None) -> list[str]:
    with pytest.raises(Failure) as raised:
        server.call(method, *parameters, address=address)
    details: list[str] = raised.value.details
    return details


def test_roles_by_message_and_by_key(roles: Served) -> None:
    viewer, ops, root = (roles.log_in(user) for user in ("viewer", "ops", "root"))
    vm = roles.call("VM.get_all", viewer)[0]
    code, permission, text = failure(roles, "VM.set_name_label", viewer, vm, "x")
    assert (code, permission) == ("RBAC_PERMISSION_DENIED", "vm.set_name_label")
    assert text.startswith("No permission in user session. (Roles with this permission: pool-admin, ")
    roles.call("VM.add_to_other_config", ops, vm, "folder", "/a")
    assert failure(roles, "VM.add_to_other_config", ops, vm, "x", "y")[:2] == [
        "RBAC_PERMISSION_DENIED",
        "vm.add_to_other_config",
    ]
    assert roles.call("session.get_is_local_superuser", root, root) is True
    assert roles.call("session.get_rbac_permissions", root, root) == []
    assert roles.call("session.get_is_local_superuser", ops, ops) is False
    granted = roles.call("session.get_rbac_permissions", ops, ops)
    assert {"vm.start", "http/rrd_updates", "vm.add_to_other_config/key:folder"} <= set(granted)
    assert "vm.set_name_label" not in granted


def test_paths_have_roles(roles: Served) -> None:
    viewer = roles.log_in("viewer")
    encoded = viewer.replace(":", "%3A")
    status, _, _ = split(roles.send(request("GET", f"/pool/xmldbdump?session_id={encoded}")))
    assert status == 403
    assert split(roles.send(request("GET", f"/rrd_updates?start=0&session_id={encoded}")))[0] == 200
    cookie = f"cookie: session_id={encoded}"
    assert split(roles.send(request("GET", "/rrd_updates?start=0&session_id=OpaqueRef%3Ax", None, cookie)))[0] == 200
    assert split(roles.send(request("GET", "/rrd_updates?start=0&session_id=OpaqueRef%3Ax")))[0] == 401


def test_wrong_passwords_are_answered_ever_later(roles: Served) -> None:
    times = []
    for _ in range(2):
        began = time.monotonic()
        failure(roles, "session.login_with_password", "root", "wrong")
        times.append(time.monotonic() - began)
    assert times[0] > 0.3
    assert times[1] > times[0] + 0.3


def test_members_send_clients_to_the_coordinator(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with served(tmp_path, "--listen", f"127.0.0.1:{port}", "--members") as server:
        session = server.log_in()
        records = server.call("host.get_all_records", session)
        addresses = {record["address"] for record in records.values()}
        assert addresses == {f"127.0.0.{number}" for number in range(1, len(records) + 1)}
        (pool,) = server.call("pool.get_all", session)
        assert records[server.call("pool.get_master", session, pool)]["address"] == "127.0.0.1"
        member = ("127.0.0.2", port)
        sent_on = ["HOST_IS_SLAVE", "127.0.0.1"]
        assert failure(server, "session.login_with_password", "root", "wrong", address=member) == sent_on
        assert failure(server, "pool.get_all", session, address=member) == sent_on
        assert failure(server, "pool.get_all", "OpaqueRef:x", address=member) == ["SESSION_INVALID", "OpaqueRef:x"]
        assert "VM.start" in server.call("system.listMethods", address=member)
        local = server.call("session.slave_local_login_with_password", USER, "correct horse", address=member)
        assert server.call("pool.get_all", local, address=member) == [pool]
        assert failure(server, "pool.get_all", local) == ["SESSION_INVALID", local]
        encoded = session.replace(":", "%3A")
        answers = [
            server.send(request("GET", f"/rrd_updates?start=0&json&session_id={encoded}"), address=(address, port))
            for address in sorted(addresses)
        ]
        legends = [split(answer)[2].split(b'"data"')[0] for answer in answers]
        assert len(set(legends)) == len(legends)


def test_read_only(tmp_path: Path) -> None:
    with served(tmp_path, "--read-only") as server:
        session = server.log_in()
        (pool,) = server.call("pool.get_all", session)
        assert failure(server, "pool.set_name_label", session, pool, "x")[0] == "RBAC_PERMISSION_DENIED"
        vm = server.call("VM.get_all", session)[0]
        task = server.call("Async.VM.start", session, vm, False, False)
        assert server.call("task.get_error_info", session, task)[0] == "RBAC_PERMISSION_DENIED"
        assert server.call("task.create", session, "mine", "").startswith("OpaqueRef:")


def test_tls_with_a_certificate_that_is_made(tmp_path: Path) -> None:
    with served(tmp_path, "--tls") as server:
        assert server.url.startswith("https://")
        pem = (
            "-----BEGIN" + "\n".join(server.told).partition("-----BEGIN")[2].partition("-----\nchanges")[0] + "-----\n"
        )
        context = ssl.create_default_context(cadata=pem)
        with (
            socket.create_connection(server.address, timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(request("GET", "/health"))
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert server.send(request("GET", "/health"))[:8] != b"HTTP/1.1"


def test_sighup_reads_the_password_file_again(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        assert failure(server, "session.login_with_password", "new", "correct horse")[0].startswith("SESSION_AUTH")
        users = tmp_path / "users"
        users.write_text(f"new:read-only:{LINE}\n")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert '"reloaded"' in server.log()
        assert server.log_in("new").startswith("OpaqueRef:")
        users.write_text("nonsense\n")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert "line 1 is not NAME:ROLE:" in server.log()
        assert server.log_in("new").startswith("OpaqueRef:")


def test_sigterm_finishes_what_is_under_way(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        session = server.log_in()
        import json
        import threading

        call = {"id": 0, "jsonrpc": "2.0", "method": "event.from", "params": [session, ["host"], "", 0.0]}
        token = server.call("event.from", session, ["host"], "", 0.0)["token"]
        call["params"] = [session, ["host"], token, 30.0]
        answers: list[bytes] = []
        sent = request("POST", "/jsonrpc", json.dumps(call).encode(), close=False)
        waiter = threading.Thread(target=lambda: answers.append(server.send(sent, seconds=10)))
        waiter.start()
        time.sleep(0.5)
        assert server.stop() == 0
        waiter.join()
        assert b'"events":[]' in answers[0]
        assert '"ended"' in server.log()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--listen", "0.0.0.0:0"), "0.0.0.0 is no loopback address: it takes TLS and a password file"),
        (("--listen", "nonsense"), "'nonsense' is not ADDRESS:PORT, such as 127.0.0.1:8443 or [::1]:8443"),
        (("--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"), "1 pools at 2 addresses: each needs one --listen"),
        (("--tls-cert", "x"), "--tls-cert and --tls-key need each other"),
        (("--tls-cert", "x", "--tls-key", "y"), "x, y: No such file or directory"),
        (("--password-file", "x"), "x: No such file or directory"),
    ],
)
def test_what_cannot_be_served(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    from servers import EXAMPLE

    listen = () if "--listen" in options else ("--listen", "127.0.0.1:0")
    done = subprocess.run(
        [sys.executable, "-m", "xenmem", "serve", str(EXAMPLE), *listen, *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, f"xenmem: error: {told}\n")


def test_password_files(tmp_path: Path) -> None:
    from xenmem.datamodel import Role

    file = tmp_path / "users"
    file.write_text(passwords.line("eve", "pässword", Role.VM_ADMIN) + "\n")
    with pytest.raises(passwords.PasswordFileError, match="others than its owner may use it"):
        passwords.read(file)
    file.chmod(0o600)
    eve = passwords.read(file)["eve"]
    assert eve.role is Role.VM_ADMIN
    assert eve.is_known_by("pässword")
    assert not eve.is_known_by("password")
    assert passwords.read(file, most=Role.READ_ONLY)["eve"].role is Role.READ_ONLY
    with pytest.raises(passwords.PasswordFileError, match="has no user 'adam'"):
        passwords.read(file, "adam")
    with pytest.raises(ValueError, match="cannot stand in a password file"):
        passwords.line("a:b", "x", Role.VM_ADMIN)


def over(path: Path, method: str, *parameters: str) -> Any:
    """The result of a message at a socket of the file system, as clients of the host itself send it."""
    body = dumps(parameters, method).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        connection.sendall(request("POST", "/", body))
        status, _, answer = split(read_all(connection))
    assert status == 200
    (result,), _ = loads(answer)
    assert isinstance(result, dict)
    return result.get("Value", result.get("ErrorDescription"))


def test_a_socket_of_the_file_system_asks_no_password(tmp_path: Path) -> None:
    path = tmp_path / "xapi"
    with served(tmp_path, "--socket", str(path)) as server:
        assert f"whoever may use {path} logs in there without a password" in server.told
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        session = over(path, "session.login_with_password", "", "")
        assert session.startswith("OpaqueRef:")
        assert over(path, "session.get_is_local_superuser", session, session) is True
        assert len(over(path, "VM.get_all", session)) > 0
        with pytest.raises(Failure):
            server.log_in("", "")
        assert server.stop() == 0
    assert not path.exists()


def test_a_socket_that_a_killed_server_left_is_taken_and_that_of_another_is_not(tmp_path: Path) -> None:
    path = tmp_path / "xapi"
    with served(tmp_path, "--socket", str(path)) as server:
        server.stop(signal.SIGKILL)
    assert path.is_socket()
    with served(tmp_path, "--socket", str(path), "--read-only"):
        session = over(path, "session.login_with_password", "root", "any")
        vm = over(path, "VM.get_all", session)[0]
        assert over(path, "VM.set_name_label", session, vm, "x")[0] == "RBAC_PERMISSION_DENIED"
        with (
            pytest.raises(AssertionError, match="another server answers there"),
            served(tmp_path, "--socket", str(path)),
        ):
            pass
        assert over(path, "VM.get_all", session)
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(AssertionError, match="Address already in use"),
        served(tmp_path, "--socket", str(tmp_path / "file")),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_a_password_is_changed(tmp_path: Path) -> None:
    with served(tmp_path, users=USERS) as server:
        root, viewer = server.log_in(), server.log_in("viewer")
        assert failure(server, "session.change_password", viewer, PASSWORD, "new")[0] == "RBAC_PERMISSION_DENIED"
        assert failure(server, "session.change_password", root, "wrong", "new")[0] == "SESSION_AUTHENTICATION_FAILED"
        server.call("session.change_password", root, PASSWORD, "a new one")
        assert failure(server, "session.login_with_password", USER, PASSWORD)[0] == "SESSION_AUTHENTICATION_FAILED"
        assert server.call("session.get_uuid", root, server.log_in(USER, "a new one"))
        assert server.call("session.get_uuid", root, root)
        assert "a new one" not in server.log()
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while "reloaded" not in server.log() and time.monotonic() < end:
            time.sleep(0.05)
        assert server.log_in()
