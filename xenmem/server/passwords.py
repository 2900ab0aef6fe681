"""Users by their password file: one a line, the password as a salted hash of scrypt, and a role.

    root:pool-admin:scrypt$14$8$1$SALT$HASH

Salt and hash in base64; an empty role is pool-admin; blank lines and those that begin with # are passed over.
"""

import base64
import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

from xenmem.datamodel import Role
from xenmem.xenapi import User

_LOG_N, _R, _P = 14, 8, 1
_MAX_LOG_N: Final = 17
MAX_FILE: Final = 1 << 20
"""Bytes of a password file."""


class PasswordFileError(ValueError):
    """A password file cannot be used."""


def line(name: str, password: str, role: Role) -> str:
    """A line of a password file.

    Raises
    ------
    ValueError : the name is empty, begins with #, or holds a colon or a control character
    """
    if not name or name[0] == "#" or ":" in name or not name.isprintable() or name != name.strip():
        raise ValueError(f"name: {name!r} cannot stand in a password file")
    salt = secrets.token_bytes(16)
    digest = hashlib.scrypt(_bytes(password), salt=salt, n=1 << _LOG_N, r=_R, p=_P, maxmem=1 << 26)
    encoded = "$".join(base64.b64encode(part).decode() for part in (salt, digest))
    return f"{name}:{role.spelling}:scrypt${_LOG_N}${_R}${_P}${encoded}"


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


class HashedUser(User):
    """A user of whose password the hash is known.

    Parameters
    ----------
    role : what they may do
    log_n, r, p, salt, digest : of scrypt
    """

    __slots__ = ("_cost", "_hash")

    def __init__(self, role: Role, log_n: int, r: int, p: int, salt: bytes, digest: bytes) -> None:
        super().__init__(None, role)
        self._cost = (1 << log_n, r, p)
        self._hash = salt, digest

    def is_known_by(self, password: str) -> bool:
        (n, r, p), (salt, digest) = self._cost, self._hash
        given = hashlib.scrypt(_bytes(password), salt=salt, n=n, r=r, p=p, maxmem=1 << 28, dklen=len(digest))
        return secrets.compare_digest(given, digest)


def read(path: str | os.PathLike[str], only: str | None = None, most: Role = Role.POOL_ADMIN) -> dict[str, User]:
    """The users of a password file.

    Parameters
    ----------
    path : the file
    only : the one user that counts, if not all do
    most : the highest role that any of them has

    Raises
    ------
    PasswordFileError : it cannot be read, others than its owner may read it, or a line is none
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE + 1)
    except OSError as error:
        raise PasswordFileError(f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise PasswordFileError(f"{path}: others than its owner may use it (chmod 600)")
    if len(content) > MAX_FILE:
        raise PasswordFileError(f"{path}: is longer than {MAX_FILE} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise PasswordFileError(f"{path}: is not UTF-8") from None
    users: dict[str, User] = {}
    for number, written in enumerate(text.splitlines(), 1):
        if not written.strip() or written.startswith("#"):
            continue
        try:
            name, user = _user(written, most)
        except (ValueError, KeyError):
            raise PasswordFileError(
                f"{path}: line {number} is not NAME:ROLE:scrypt$LOG_N$R$P$SALT$HASH, as `xenmem password` writes it"
            ) from None
        if name in users:
            raise PasswordFileError(f"{path}: line {number}: {name!r} is there twice")
        users[name] = user
    if only is not None:
        if only not in users:
            raise PasswordFileError(f"{path}: has no user {only!r}")
        return {only: users[only]}
    if not users:
        raise PasswordFileError(f"{path}: names nobody")
    return users


def _user(written: str, most: Role) -> tuple[str, User]:
    name, role, hashed = written.split(":")
    kind, log_n, r, p, salt, digest = hashed.strip().split("$")
    cost = int(log_n), int(r), int(p)
    if kind != "scrypt" or not name or not (1 <= cost[0] <= _MAX_LOG_N and 1 <= cost[1] <= 8 and 1 <= cost[2] <= 4):
        raise ValueError(kind)
    salted, digested = base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    if len(salted) < 8 or not 16 <= len(digested) <= 64:
        raise ValueError("length")
    return name, HashedUser(min(most, Role.named(role) if role else most), *cost, salted, digested)
