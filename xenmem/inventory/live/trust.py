"""Which certificate is trusted: of an authority, of a fingerprint that was given, or one that is known from before.

xapi's certificates are self-signed as a rule, so a host that is not known is shown, and remembered once somebody has
said yes. Nothing is sent before.
"""

import hashlib
import os
import socket
import ssl
from contextlib import suppress
from typing import Final

from xenmem.inventory.error import InventoryError, OutOfReachError
from xenmem.inventory.live.access import Access
from xenmem.inventory.live.address import Address, folder
from xenmem.replacing import replacing

_PREFIX: Final = "sha256:"
_DIGITS: Final = frozenset("0123456789abcdef")
_SELF_SIGNED: Final = (18, 19, 20, 21)
"""Codes of OpenSSL: signed by itself, or by an authority that is not known."""
_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64
_HOW: Final = "give its fingerprint (--fingerprint), its authority (--ca), or trust it now (--accept-new)"


def connect(address: Address, access: Access) -> socket.socket:
    """A connection to a server that is who it should be.

    Raises
    ------
    OutOfReachError : it cannot be reached
    InventoryError : it is not trusted
    """
    if address.scheme == "http":
        if not (address.is_loopback or access.insecure):
            problem = "plain HTTP shows the password to whoever listens: use https://, or --insecure"
            raise InventoryError(str(address), "", problem)
        return _connected(address, access)
    wanted = [fingerprint(one) for one in access.fingerprints]
    if access.insecure and not wanted:
        return _secured(address, access, _unverified())
    if wanted:
        connection = _secured(address, access, _unverified())
        if _shown_by(connection) not in wanted:
            raise _refused(
                connection, address, f"shows a certificate with another fingerprint: {_shown_by(connection)}"
            )
        return connection
    if access.ca is not None:
        return _verified(address, access, _of_authority(access.ca))
    known = known_hosts().get(address.place)
    if known is not None:
        connection = _secured(address, access, _unverified())
        if _shown_by(connection) != known:
            problem = (
                f"shows another certificate ({_shown_by(connection)}) than it did before ({known}): if that is"
                f" meant, take its line out of {_path()}"
            )
            raise _refused(connection, address, problem)
        return connection
    try:
        return _secured(address, access, ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        if error.verify_code not in _SELF_SIGNED:
            raise InventoryError(str(address), "", _said(error)) from None
    return _at_first_use(address, access)


def fingerprint(text: str) -> str:
    """A fingerprint in the form in which it is compared: ``sha256:`` and 64 hexadecimal digits.

    Raises
    ------
    InventoryError : it is none
    """
    digits = text.strip().lower().removeprefix("sha256 fingerprint=").removeprefix(_PREFIX).replace(":", "")
    if len(digits) != 64 or not _DIGITS.issuperset(digits):
        problem = "is no SHA-256 fingerprint, of 64 hexadecimal digits: `openssl x509 -noout -fingerprint -sha256`"
        raise InventoryError(text[:80], "", problem)
    return _PREFIX + digits


def known_hosts() -> dict[str, str]:
    """The fingerprints that are known, by host and port.

    Raises
    ------
    InventoryError : the file cannot be read, or a line is none
    """
    try:
        with open(_path(), encoding="utf-8") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(_path(), "", getattr(error, "strerror", None) or "is not UTF-8") from None
    known = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            place, _, shown = line.partition(" ")
            try:
                known[place] = fingerprint(shown)
            except InventoryError:
                raise InventoryError(_path(), f"line {number}", "is not HOST:PORT sha256:DIGITS") from None
    return known


def remember(place: str, shown: str) -> None:
    """Add a host to those that are known: all of the file is written, or nothing.

    Raises
    ------
    InventoryError : it cannot be written
    """
    path = _path()
    try:
        os.makedirs(folder(), mode=0o700, exist_ok=True)  # noqa: PTH103
        before = b""
        with suppress(FileNotFoundError), open(path, "rb") as old:  # noqa: PTH123
            before = old.read()
        with replacing(path) as file:
            ended = before if before.endswith(b"\n") or not before else before + b"\n"
            file.write(ended + f"{place} {shown}\n".encode())
    except OSError as error:
        raise InventoryError(path, "", error.strerror or str(error)) from None


def _path() -> str:
    return os.path.join(folder(), "known_hosts")  # noqa: PTH118


def _at_first_use(address: Address, access: Access) -> socket.socket:
    connection = _secured(address, access, _unverified())
    shown = _shown_by(connection)
    if not access.accept_new:
        if access.confirm is None:
            raise _refused(connection, address, f"shows a certificate of no known authority, {shown}: {_HOW}")
        if not access.confirm(f"{address} is not known. Its certificate is {shown}"):
            raise _refused(connection, address, "its certificate was not trusted")
    try:
        remember(address.place, shown)
    except InventoryError:
        connection.close()
        raise
    return connection


def _connected(address: Address, access: Access) -> socket.socket:
    try:
        connection = socket.create_connection((address.host, address.port), timeout=access.timeout)
    except TimeoutError:
        raise OutOfReachError(str(address), "", f"no answer within {access.timeout:g} s") from None
    except (OSError, UnicodeError) as error:
        raise OutOfReachError(
            str(address), "", f"cannot be reached: {getattr(error, 'strerror', None) or error}"
        ) from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connection


def _secured(address: Address, access: Access, context: ssl.SSLContext) -> ssl.SSLSocket:
    """TLS over a new connection; a certificate that fails is the caller's affair."""
    connection = _connected(address, access)
    try:
        return context.wrap_socket(connection, server_hostname=address.host)
    except ssl.SSLCertVerificationError:
        connection.close()
        raise
    except TimeoutError:
        connection.close()
        raise OutOfReachError(str(address), "", f"TLS did not begin within {access.timeout:g} s") from None
    except ssl.SSLError as error:
        connection.close()
        reason = (error.reason or "").replace("_", " ").lower() or "the handshake failed"
        if isinstance(error, ssl.SSLEOFError):
            raise OutOfReachError(str(address), "", "ended the connection before TLS began") from None
        raise InventoryError(str(address), "", f"no TLS of version 1.2 or later there ({reason})") from None
    except (OSError, ValueError) as error:
        connection.close()
        raise OutOfReachError(
            str(address), "", f"TLS did not begin: {getattr(error, 'strerror', None) or error}"
        ) from None


def _verified(address: Address, access: Access, context: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        return _secured(address, access, context)
    except ssl.SSLCertVerificationError as error:
        raise InventoryError(str(address), "", _said(error)) from None


def _said(error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with a certificate, and what can be done."""
    code, message = error.verify_code, error.verify_message
    if code in (_NOT_YET, _EXPIRED):
        return f"its certificate is not valid now ({message}): if this computer's clock is right, it needs a new one"
    if code in (_OTHER_NAME, _OTHER_ADDRESS):
        return f"its certificate is for another name ({message}): ask by that, or give its fingerprint (--fingerprint)"
    return f"its certificate is not trusted ({message}): {_HOW}"


def _unverified() -> ssl.SSLContext:
    """Of a connection whose certificate is compared afterwards, or not at all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _of_authority(path: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=path)
    except OSError as error:
        raise InventoryError(path, "", _no_certificates(error)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _no_certificates(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "holds no certificates as PEM"
    return error.strerror or str(error)


def _shown_by(connection: socket.socket) -> str:
    assert isinstance(connection, ssl.SSLSocket)
    certificate = connection.getpeercert(binary_form=True)
    return _PREFIX + hashlib.sha256(certificate or b"").hexdigest()


def _refused(connection: socket.socket, address: Address, problem: str) -> InventoryError:
    connection.close()
    return InventoryError(str(address), "", problem)
