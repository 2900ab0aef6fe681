"""Certificates: who is trusted, what is remembered, and what a stranger is told."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_pools import Certificate, answering

from xenmem import Access, InventoryError
from xenmem.inventory.live import trust
from xenmem.inventory.live.address import Address


@pytest.fixture(autouse=True)
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "xenmem" / "known_hosts"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


def silent(message: str, parameters: list[Any], number: int) -> bytes:
    return b""


@pytest.fixture
def server(certificate: Certificate) -> Iterator[tuple[Address, list[str]]]:
    with answering(silent, certificate.context) as (url, messages):
        yield Address.of(url), messages


def connected(address: Address, **access: Any) -> None:
    trust.connect(address, Access(**access)).close()


def test_an_authority(server: tuple[Address, list[str]], certificate: Certificate, other: Certificate) -> None:
    connected(server[0], ca=str(certificate.file))
    with pytest.raises(InventoryError, match="its certificate is not trusted"):
        connected(server[0], ca=str(other.file))


def test_a_fingerprint(
    server: tuple[Address, list[str]], certificate: Certificate, other: Certificate, known: Path
) -> None:
    digits = certificate.fingerprint.removeprefix("sha256:").upper()
    spelt = ":".join(digits[place : place + 2] for place in range(0, 64, 2))
    for text in (certificate.fingerprint, digits, f"sha256 Fingerprint={spelt}"):
        connected(server[0], fingerprints=(other.fingerprint, text), insecure=True)
    with pytest.raises(InventoryError, match=f"with another fingerprint: {certificate.fingerprint}"):
        connected(server[0], fingerprints=(other.fingerprint,), insecure=True)
    assert not known.exists()
    with pytest.raises(InventoryError, match="is no SHA-256 fingerprint"):
        connected(server[0], fingerprints=("ab:cd",))


def test_first_use(
    server: tuple[Address, list[str]], certificate: Certificate, other: Certificate, known: Path
) -> None:
    address, messages = server
    problem = f"no known authority, {certificate.fingerprint}: give its fingerprint"
    with pytest.raises(InventoryError, match=problem):
        connected(address)
    asked: list[str] = []

    def refuses(what: str) -> bool:
        asked.append(what)
        return False

    with pytest.raises(InventoryError, match="was not trusted"):
        connected(address, confirm=refuses)
    assert asked == [f"{address} is not known. Its certificate is {certificate.fingerprint}"]
    assert not known.exists()
    known.parent.mkdir(parents=True)
    known.write_text(f"# mine\npool.example:443 {other.fingerprint}")
    connected(address, confirm=lambda what: True)
    assert known.read_text() == (
        f"# mine\npool.example:443 {other.fingerprint}\n{address.place} {certificate.fingerprint}\n"
    )
    assert [one.name for one in known.parent.iterdir()] == ["known_hosts"]
    connected(address)
    known.write_text(f"{address.place} {other.fingerprint}\n")
    for access in ({}, {"accept_new": True}, {"confirm": lambda what: True}):
        with pytest.raises(
            InventoryError, match=f"another certificate .*{certificate.fingerprint}.* than it did before"
        ):
            connected(address, **access)
    assert messages == []


def test_accept_new(server: tuple[Address, list[str]], certificate: Certificate, known: Path) -> None:
    connected(server[0], accept_new=True)
    assert known.read_text() == f"{server[0].place} {certificate.fingerprint}\n"


def test_what_is_known_must_be_a_file_of_fingerprints(server: tuple[Address, list[str]], known: Path) -> None:
    known.parent.mkdir(parents=True)
    known.write_text("pool.example:443 sha1:12\n")
    with pytest.raises(InventoryError, match=r"known_hosts: line 1: is not HOST:PORT sha256:DIGITS"):
        connected(server[0])


def test_another_name(certificate: Certificate) -> None:
    with (
        answering(silent, certificate.context, "127.0.0.2") as (url, _),
        pytest.raises(InventoryError, match=r"for another name \(.*127\.0\.0\.2.*\): ask by that"),
    ):
        connected(Address.of(url), ca=str(certificate.file))


def test_not_valid_now(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a clock that is wrong makes it look."""
    error = ssl.SSLCertVerificationError("x")
    error.verify_code, error.verify_message = 9, "certificate is not yet valid"

    def fails(*arguments: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", fails)
    with (
        answering(silent, certificate.context) as (url, _),
        pytest.raises(InventoryError, match=r"not valid now \(certificate is not yet valid\): if this computer's"),
    ):
        connected(Address.of(url), ca=str(certificate.file))


def test_insecure(server: tuple[Address, list[str]], known: Path) -> None:
    connected(server[0], insecure=True)
    assert not known.exists()


def test_plain_http_stays_on_this_machine() -> None:
    with pytest.raises(InventoryError, match="plain HTTP shows the password"):
        connected(Address.of("http://192.0.2.1"))


def test_no_tls_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1 << 10)

        speaker = threading.Thread(target=speak)
        speaker.start()
        with pytest.raises(InventoryError, match=r"no TLS of version 1\.2 or later there"):
            connected(Address("https", "127.0.0.1", listening.getsockname()[1]))
        speaker.join()
