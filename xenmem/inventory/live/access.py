"""How one gets in: passwords from a file, the environment, a keyring or whoever can be asked; what is trusted.

A password is in no message, in no log, and in the text of no object.
"""

import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from xenmem.inventory.error import InventoryError
from xenmem.inventory.live.address import Address

PASSWORD_VARIABLE: Final = "XENMEM_PASSWORD"
"""The environment variable that may hold the password."""

_SERVICE: Final = "xenmem"
_MAX_PASSWORD: Final = 4096


@dataclass(frozen=True, slots=True)
class Access:
    """What is needed to read a pool that runs.

    Parameters
    ----------
    password : of the user; by default from what follows, in this order: the file, the environment, a keyring, `ask`
    password_file : its first line is the password
    password_env : the environment variable that holds it
    ca : file of certificates of authorities, instead of those of the system
    fingerprints : SHA-256 of certificates, as 64 hexadecimal digits; one of these, and no other, is accepted
    insecure : accept any certificate, and plain HTTP; what is read says so
    accept_new : trust and remember the certificate of a host that was not known
    ask : asks somebody for a password, given what for
    confirm : asks somebody whether a certificate is to be trusted and remembered, given what there is to know
    timeout : seconds that a connection, or an answer to begin or go on, may take
    """

    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    password_env: str = PASSWORD_VARIABLE
    ca: str | None = None
    fingerprints: tuple[str, ...] = ()
    insecure: bool = False
    accept_new: bool = False
    ask: Callable[[str], str] | None = field(default=None, repr=False, compare=False)
    confirm: Callable[[str], bool] | None = field(default=None, repr=False, compare=False)
    timeout: float = 30.0

    def secret(self, address: Address, user: str) -> str:
        """The password of a user.

        Raises
        ------
        InventoryError : there is none, or its file cannot be used
        """
        password = self._found(address, user)
        try:
            password.encode()
        except UnicodeEncodeError:
            raise InventoryError(str(address), "", f"the password of {user} is not UTF-8") from None
        return password

    def _found(self, address: Address, user: str) -> str:
        if self.password is not None:
            return self.password
        if self.password_file is not None:
            return _of_file(self.password_file)
        if (found := os.environ.get(self.password_env)) is not None:
            return found
        if (found := _of_keyring(f"{user}@{address.host}")) is not None:
            return found
        if self.ask is not None:
            return self.ask(f"Password of {user} at {address}")
        problem = f"needs the password of {user}: --password-file FILE, or the environment variable {self.password_env}"
        raise InventoryError(str(address), "", problem)


def _of_file(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            mode = os.fstat(file.fileno()).st_mode
            content = file.readline(_MAX_PASSWORD + 1)
    except OSError as error:
        raise InventoryError(path, "", error.strerror or str(error)) from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise InventoryError(path, "", "others than its owner may use it (chmod 600)")
    try:
        password = content.rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        raise InventoryError(path, "", "its first line is not UTF-8") from None
    if not password:
        raise InventoryError(path, "", "its first line, the password, is empty")
    if len(content) > _MAX_PASSWORD:
        raise InventoryError(path, "", f"its first line has more than {_MAX_PASSWORD} bytes")
    return password


def _of_keyring(name: str) -> str | None:
    """What a keyring holds, if the package `keyring` is there and has one that can be used."""
    if "keyring" not in sys.modules:
        from importlib.util import find_spec

        if find_spec("keyring") is None:
            return None
    import keyring

    try:
        found: str | None = keyring.get_password(_SERVICE, name)
    except keyring.errors.KeyringError:
        return None
    return found
