"""Passwords: where they are looked for, in which order, and that they are never shown."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from xenmem import Access, InventoryError
from xenmem.inventory.live.address import Address

ADDRESS = Address.of("https://pool.example")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XENMEM_PASSWORD", raising=False)
    keyring = ModuleType("keyring")
    keyring.get_password = lambda service, name: None  # type: ignore[attr-defined]
    keyring.errors = SimpleNamespace(KeyringError=RuntimeError)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)


def a_file(folder: Path, content: bytes, mode: int = 0o600) -> str:
    path = folder / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    access = Access(ask=lambda what: asked.append(what) or "asked")  # type: ignore[func-returns-value]
    assert access.secret(ADDRESS, "eve") == "asked"
    assert asked == ["Password of eve at https://pool.example"]
    told: list[tuple[str, str]] = []
    keyring = sys.modules["keyring"]
    monkeypatch.setattr(keyring, "get_password", lambda *of: told.append(of) or "kept")
    assert access.secret(ADDRESS, "eve") == "kept"
    assert told == [("xenmem", "eve@pool.example")]
    monkeypatch.setenv("XENMEM_PASSWORD", "set")
    assert access.secret(ADDRESS, "eve") == "set"
    assert Access(password_file=a_file(tmp_path, b"written \r\nmore")).secret(ADDRESS, "eve") == "written "
    assert Access("given", password_file="/nowhere").secret(ADDRESS, "eve") == "given"


def test_a_keyring_that_is_locked_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(service: str, name: str) -> str:
        raise RuntimeError("locked")

    monkeypatch.setattr(sys.modules["keyring"], "get_password", fails)
    with pytest.raises(InventoryError, match=r"needs the password of eve: --password-file FILE, or .* XENMEM_PASSWORD"):
        Access().secret(ADDRESS, "eve")


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (b"hunter2\n", 0o640, r"others than its owner may use it \(chmod 600\)"),
        (b"\nhunter2", 0o600, "its first line, the password, is empty"),
        (b"hunter2\xff\n", 0o600, "its first line is not UTF-8"),
        (b"hunter2" * 1000, 0o600, "has more than 4096 bytes"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, mode: int, expected: str) -> None:
    with pytest.raises(InventoryError, match=expected) as raised:
        Access(password_file=a_file(tmp_path, content, mode)).secret(ADDRESS, "eve")
    assert "hunter2" not in raised.value.problem


def test_bad_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XENMEM_PASSWORD", "hunter2\udcff")
    with pytest.raises(InventoryError, match="the password of eve is not UTF-8") as raised:
        Access().secret(ADDRESS, "eve")
    assert "hunter2" not in str(raised.value)


def test_a_password_is_in_no_text() -> None:
    assert "hunter2" not in repr(Access("hunter2"))
