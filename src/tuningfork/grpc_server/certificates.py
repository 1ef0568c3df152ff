"""The certificate that the gRPC server presents: the operator's, or one that is created here and renewed in time.

A certificate created here is signed by a root certificate created here. Callers trust the root if the variable
`GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` names its file. The root is valid for ten years, so that callers set the variable
only once.
"""

import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=730)
RENEWED_BEFORE = timedelta(days=30)
"""When the server starts, it replaces a certificate that expires within this time."""

_NOWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - not names of a machine

_ROOT_NAME = "Tuningfork root of this server"


class CertificateError(Exception):
    """A certificate or a key cannot be used; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """The certificate that a server presents. `chain` and `private_key` are PEM.

    `root_file` holds the root certificate that callers have to trust; None if the operator provided the certificate.
    """

    chain: bytes
    private_key: bytes
    root_file: Path | None = None


def usual_hosts(host: str) -> tuple[str, ...]:
    """The names and addresses by which callers reach a server that listens on `host`."""
    names = ("localhost", "127.0.0.1", "::1", socket.gethostname(), host)
    return tuple(dict.fromkeys(name for name in names if name.isascii() and name not in _NOWHERE))


def operators_certificate(certificate_file: Path, private_key_file: Path) -> ServerCertificate:
    """The operator's certificate; intermediate certificates follow it in the same file.

    Raises:
        CertificateError: a file cannot be read, or key and certificate do not belong together.

    """
    chain = _read(certificate_file)
    private_key = _read(private_key_file)
    try:
        [certificate, *_] = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise CertificateError(f"{certificate_file} holds no PEM certificate: {error}") from error
    try:
        key = serialization.load_pem_private_key(private_key, password=None)
    except TypeError as error:
        raise CertificateError(
            f"{private_key_file} is protected by a password, which gRPC cannot ask for; give a key without one"
        ) from error
    except ValueError as error:
        raise CertificateError(f"{private_key_file} holds no PEM private key: {error}") from error
    if _bits(key.public_key()) != _bits(certificate.public_key()):
        raise CertificateError(
            f"the key in {private_key_file} is not that of the first certificate in {certificate_file}"
        )
    return ServerCertificate(chain=chain, private_key=private_key)


def own_certificate(directory: Path, hosts: Sequence[str], now: datetime) -> ServerCertificate:
    """The certificate in this directory; a new one is created if it is missing, expires soon or lacks a host.

    Args:
        directory: the directory; it is created if needed, readable by its user only.
        hosts: the names and addresses by which callers reach the server; the certificate must have all of them.
        now: the current time.

    Raises:
        CertificateError: the directory cannot be written, or what is in it cannot be read.

    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        root = _kept(directory, "root", now) or _make_root(directory, now)
        server = _kept(directory, "server", now)
        if server is None or not (_hosts_of(server) >= set(hosts) and _is_signed_by(server, root)):
            _make_server(directory, root, hosts, now)
        return ServerCertificate(
            chain=(directory / "server.pem").read_bytes(),
            private_key=(directory / "server-key.pem").read_bytes(),
            root_file=directory / "root.pem",
        )
    except OSError as error:
        raise CertificateError(f"{error.filename or directory}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from error


def _bits(key: PublicKeyTypes | CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _kept(directory: Path, name: str, now: datetime) -> x509.Certificate | None:
    """The stored certificate with this name; None if it or its key is missing, or if it expires soon."""
    try:
        certificate = x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())
        key = _load_key(directory, name)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CertificateError(
            f"{directory / name}.pem or its key is damaged ({error}); remove {directory}, and it is made anew"
        ) from error
    lasts = certificate.not_valid_after_utc - RENEWED_BEFORE > now
    return certificate if lasts and _bits(key.public_key()) == _bits(certificate.public_key()) else None


def _load_key(directory: Path, name: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key((directory / f"{name}-key.pem").read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key on an elliptic curve")  # noqa: TRY004 - one exception for a damaged file
    return key


def _make_root(directory: Path, now: datetime) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ROOT_NAME)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _lasting(ROOT_LIFE, now)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(directory, "root", certificate, key)
    return certificate


def _make_server(directory: Path, root: x509.Certificate, hosts: Sequence[str], now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = _load_key(directory, "root")
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = (
        _lasting(min(SERVER_LIFE, root.not_valid_after_utc - now), now)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tuningfork")]))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write(directory, "server", certificate, key)


def _lasting(life: timedelta, now: datetime) -> x509.CertificateBuilder:
    # Valid from an hour ago, since callers' clocks may be slow.
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + life)
    )


def _usage(**used: bool) -> x509.KeyUsage:
    unused = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    return x509.KeyUsage(**{**unused, **used})


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts_of(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def _is_signed_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return identifier == x509.SubjectKeyIdentifier.from_public_key(root.public_key()).digest


def _write(directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Write key and certificate, the key first: a key without its certificate is replaced at the next start."""
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _replace(directory / f"{name}-key.pem", secret, mode=0o600)
    _replace(directory / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    aside = path.with_suffix(".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    aside.replace(path)
