"""TLS: contexts of a certificate and a key, and a self-signed certificate for a trial.

Suites: those of xapi (xapi-project/xen-api, ocaml/xapi-consts/tls_policy.ml) are among TLS 1.2's, and 1.3 is offered.
"""

import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

DAYS: Final = 30
"""How long a certificate for a trial is good."""


class CertificateError(ValueError):
    """Certificate and key cannot be used."""


def context(certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> ssl.SSLContext:
    """A server's context.

    Raises
    ------
    CertificateError : a file cannot be read, or the two do not belong together
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    load(made, certificate, key)
    return made


def load(made: ssl.SSLContext, certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
    """Let a context use other files from now on; failures as of `context`, and then it goes on as before."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
        made.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CertificateError(f"{certificate}, {key}: {getattr(error, 'strerror', None) or error}") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def for_a_trial(addresses: Iterable[str]) -> tuple[ssl.SSLContext, str]:
    """A context of a new self-signed certificate for these addresses and names, and the certificate as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    names = sorted({"localhost", *addresses})
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xenmem trial")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.TemporaryDirectory(prefix="xenmem-") as folder:
        certificate_file, key_file = Path(folder, "certificate"), Path(folder, "key")
        certificate_file.write_bytes(pem)
        key_file.touch(0o600)
        key_file.write_bytes(secret)
        return context(certificate_file, key_file), pem.decode()


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
