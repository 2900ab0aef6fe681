"""Where a pool is: an address as it is written, and profiles of pools by name.

A password in an address would be seen in lists of processes and in histories: it is refused, and never shown.
"""

import os
import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote

from xenmem.inventory.error import InventoryError, shown

_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PORTS: Final = {"https": 443, "http": 80}
_PROFILE_KEYS: Final[dict[str, tuple[type, ...]]] = {
    "address": (str, list),
    "user": (str,),
    "password-file": (str,),
    "password-env": (str,),
    "ca": (str,),
    "fingerprint": (str, list),
    "insecure": (bool,),
}


def is_address(text: object) -> bool:
    """Whether a text is an address, and no name of a file."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Address:
    """A server of a pool.

    Attributes
    ----------
    scheme : ``https`` or ``http``
    host : a name or an IP address, without brackets
    port : of TCP
    user : who logs in; empty if the address does not say
    """

    scheme: str
    host: str
    port: int
    user: str = ""

    @classmethod
    def of(cls, text: str) -> "Address":
        """From ``https://USER@HOST:PORT``; ``xapi`` as the scheme is https.

        Raises
        ------
        InventoryError : it is none, or holds a password
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise InventoryError(shown(text), "", "is no address such as https://root@pool.example")
        scheme = found[1].lower()
        user, at, place = found[2].rpartition("@")
        if ":" in user or (not at and "@" in found[2]):
            problem = "holds a password, which everybody could read: leave it out, and use --password-file"
            raise InventoryError(f"{scheme}://", "", problem)
        scheme = "https" if scheme == "xapi" else scheme
        if scheme not in _PORTS:
            raise InventoryError(f"{scheme}://", "", "is none of https://, xapi:// and http://")
        host, port, rest = _split(place)
        if rest not in ("", "/"):
            raise InventoryError(f"{scheme}://{host}", "", "a pool's address has no path")
        if not _is_host(host):
            raise InventoryError(f"{scheme}://", "", "names no host: write https://root@pool.example")
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise InventoryError(f"{scheme}://{host}", "", "what follows the colon is no port")
        return cls(scheme, host, int(port) if port else _PORTS[scheme], unquote(user))

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self._bracketed}{port}"

    @property
    def place(self) -> str:
        """Host and port, under which a certificate is known."""
        return f"{self._bracketed}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def at(self, host: str) -> "Address":
        """The same at another host, as HOST_IS_SLAVE names it: bare, without port and brackets.

        Raises
        ------
        InventoryError : it is none
        """
        if not _is_host(host):
            raise InventoryError(str(self), "", f"sends to {shown(host)}, which is no address")
        return replace(self, host=host)


def _split(place: str) -> tuple[str, str, str]:
    """Host, port and what follows."""
    end = next((place.index(mark) for mark in place if mark in "/?#"), len(place))
    place, rest = place[:end], place[end:]
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host if ":" in host else "", port.removeprefix(":"), rest
    host, _, port = place.partition(":")
    return host, port, rest


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            ip_address(host)
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(host) is not None


@dataclass(frozen=True, slots=True)
class Profile:
    """What the profile of a pool says.

    Attributes
    ----------
    name : what it is called
    addresses : of the pool's hosts, which are tried in this order
    password_file, ca : paths of files
    password_env : name of an environment variable
    fingerprints : of certificates that the hosts may show
    insecure : certificates are not looked at
    """

    name: str
    addresses: tuple[Address, ...]
    password_file: str | None = None
    password_env: str | None = None
    ca: str | None = None
    fingerprints: tuple[str, ...] = ()
    insecure: bool = False


def folder() -> str:
    """Where profiles, and the certificates that are known, are kept."""
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "xenmem")  # noqa: PTH111, PTH118


def profile(name: str) -> Profile | None:
    """The profile of a pool, None if there is none of this name.

    Raises
    ------
    InventoryError : the file of profiles is bad
    """
    path = os.path.join(folder(), "pools.toml")  # noqa: PTH118
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - start-up time
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InventoryError(path, "", error.strerror or str(error)) from None
    import tomllib

    try:
        given = tomllib.loads(content.decode()).get(name)
    except ValueError as error:
        raise InventoryError(path, "", str(error)) from None
    return None if given is None else _profile(path, name, given)


def _profile(path: str, name: str, given: Any) -> Profile:
    place = f"[{name}]"
    if not isinstance(given, dict):
        raise InventoryError(path, place, "is no table")
    for key, value in given.items():
        if key == "password":
            raise InventoryError(path, place, "holds a password: put it into a file of its own, and name password-file")
        if key not in _PROFILE_KEYS:
            raise InventoryError(path, place, f"{shown(key)} is none of {', '.join(_PROFILE_KEYS)}")
        if not isinstance(value, _PROFILE_KEYS[key]):
            raise InventoryError(path, place, f"{key}: is of the wrong type")
    addresses, fingerprints = (_texts(path, place, key, given) for key in ("address", "fingerprint"))
    if not addresses:
        raise InventoryError(path, place, "names no address")
    user = given.get("user", "")
    found = [Address.of(one) for one in addresses]
    return Profile(
        name,
        tuple(replace(one, user=one.user or user) for one in found),
        _expanded(given.get("password-file")),
        given.get("password-env"),
        _expanded(given.get("ca")),
        tuple(fingerprints),
        given.get("insecure", False),
    )


def _texts(path: str, place: str, key: str, given: dict[str, Any]) -> list[str]:
    value = given.get(key, [])
    texts: list[str] = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in texts):
        raise InventoryError(path, place, f"{key}: is of the wrong type")
    return texts


def _expanded(path: str | None) -> str | None:
    return None if path is None else os.path.expanduser(path)  # noqa: PTH111
