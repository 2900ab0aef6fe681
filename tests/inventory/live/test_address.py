"""Addresses and profiles: what is understood, and what is refused without a word of what was secret in it."""

from pathlib import Path

import pytest

from xenmem import Access, InventoryError
from xenmem.inventory.live.address import Address
from xenmem.inventory.live.reading import LivePool


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("https://pool.example", Address("https", "pool.example", 443), "https://pool.example"),
        ("xapi://root@pool.example/", Address("https", "pool.example", 443, "root"), "https://pool.example"),
        ("HTTPS://a@10.0.0.1:8443", Address("https", "10.0.0.1", 8443, "a"), "https://10.0.0.1:8443"),
        ("https://[fd00::1]", Address("https", "fd00::1", 443), "https://[fd00::1]"),
        ("https://[fd00::1]:8443", Address("https", "fd00::1", 8443), "https://[fd00::1]:8443"),
        ("http://localhost", Address("http", "localhost", 80), "http://localhost"),
        ("https://EXAMPLE%5Ceve@p", Address("https", "p", 443, "EXAMPLE\\eve"), "https://p"),
    ],
)
def test_addresses(text: str, expected: Address, shown: str) -> None:
    assert Address.of(text) == expected
    assert str(expected) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://root:hunter2@pool.example",
        "xapi://root:hunter2@pool.example:8443",
        "https://root:hunter2/x@pool.example",
        "https://root:hunter2@x@pool.example",
        "https://pool.example:hunter2",
        "https://hunter2 hunter2",
        "https://:hunter2@",
        "https://root:hunter2",
        "ftp://root:hunter2@pool.example",
    ],
)
def test_no_part_of_a_bad_address_is_shown_that_may_be_secret(text: str) -> None:
    with pytest.raises(InventoryError) as raised:
        Address.of(text)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://", "names no host"),
        ("https://pool.example/east", "has no path"),
        ("https://pool.example?x", "has no path"),
        ("https://pool.example:0", "is no port"),
        ("https://pool.example:65536", "is no port"),
        ("https://[pool]", "names no host"),
        ("ftp://pool.example", "is none of https://, xapi:// and http://"),
        ("https://root:@pool.example", "holds a password"),
    ],
)
def test_bad_addresses(text: str, expected: str) -> None:
    with pytest.raises(InventoryError, match=expected):
        Address.of(text)


def test_where_members_send_to() -> None:
    address = Address.of("https://eve@[fd00::1]:8443")
    assert address.at("10.0.0.7") == Address("https", "10.0.0.7", 8443, "eve")
    assert str(address.at("fd00::7")) == "https://[fd00::7]:8443"
    with pytest.raises(InventoryError, match="which is no address"):
        address.at("evil.example/x")


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "xenmem").mkdir()
    return tmp_path / "xenmem" / "pools.toml"


def test_profiles(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.write_text(
        """
        [lab]
        address = ["https://lab-1.example", "https://eve@lab-2.example:8443"]
        user = "adm"
        password-file = "~/lab"
        fingerprint = "ab"

        [plain]
        address = "https://plain.example"
        insecure = true
        password-env = "PLAIN"
        """
    )
    monkeypatch.setenv("HOME", "/home/adm")
    lab = LivePool.of("lab", Access(ca="/ca"))
    assert lab is not None
    assert [(str(one), one.user) for one in lab.addresses] == [
        ("https://lab-1.example", "adm"),
        ("https://lab-2.example:8443", "eve"),
    ]
    assert lab.access == Access(password_file="/home/adm/lab", ca="/ca", fingerprints=("ab",))
    plain = LivePool.of("plain")
    assert plain is not None
    assert plain.access == Access(insecure=True, password_env="PLAIN")
    assert LivePool.of("other") is None
    monkeypatch.chdir(profiles.parent)
    (profiles.parent / "lab").touch()
    assert LivePool.of("lab") is None  # a file of this name comes first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[lab]\naddress = "https://a"\npassword = "hunter2"', r"\[lab\]: holds a password"),
        ('[lab]\naddress = "https://a"\nport = 1', r"'port' is none of address, user"),
        ("[lab]\naddress = 1", "address: is of the wrong type"),
        ("[lab]\naddress = [1]", "address: is of the wrong type"),
        ("[lab]", "names no address"),
        ("lab = 1", "is no table"),
        ("[lab", r"pools\.toml: "),
    ],
)
def test_bad_profiles(profiles: Path, text: str, expected: str) -> None:
    profiles.write_text(text)
    with pytest.raises(InventoryError, match=expected) as raised:
        LivePool.of("lab")
    assert "hunter2" not in str(raised.value)
