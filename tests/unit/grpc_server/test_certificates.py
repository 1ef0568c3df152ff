"""Certificates that are made here, and those that an operator brings."""

import socket
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tuningfork.grpc_server.certificates import (
    CertificateError,
    operators_certificate,
    own_certificate,
    usual_hosts,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOSTS = ("localhost", "127.0.0.1", "::1", "box.example.com")


def made(directory, hosts=HOSTS, now=NOW):
    return own_certificate(directory / "tls", hosts, now)


def certificate_in(pem):
    return x509.load_pem_x509_certificate(pem)


def test_a_certificate_names_every_host_and_is_signed_by_the_root(tmp_path):
    certificate = made(tmp_path)

    server = certificate_in(certificate.chain)
    root = certificate_in(certificate.root_file.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == set(HOSTS)
    server.verify_directly_issued_by(root)
    assert server.not_valid_after_utc == NOW + timedelta(days=730)
    assert root.not_valid_after_utc == NOW + timedelta(days=3650)


def test_keys_are_for_their_user_only(tmp_path):
    made(tmp_path)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "tls").iterdir()}
    assert modes == {"root.pem": 0o644, "root-key.pem": 0o600, "server.pem": 0o644, "server-key.pem": 0o600}
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700


def test_what_is_there_is_used_again(tmp_path):
    assert made(tmp_path) == made(tmp_path, now=NOW + timedelta(days=699))
    assert made(tmp_path) == made(tmp_path, hosts=HOSTS[:2])


@pytest.mark.parametrize(
    ("hosts", "days"), [(HOSTS, 701), ((*HOSTS, "another.example.com"), 0)], ids=["nearly over", "another host"]
)
def test_it_is_made_anew_under_the_same_root(tmp_path, hosts, days):
    before = made(tmp_path)
    root = before.root_file.read_bytes()

    after = made(tmp_path, hosts, NOW + timedelta(days=days))

    assert after.chain != before.chain
    assert after.root_file.read_bytes() == root
    certificate_in(after.chain).verify_directly_issued_by(certificate_in(root))


def test_a_root_that_is_nearly_over_is_made_anew_with_what_it_signed(tmp_path):
    before = made(tmp_path)

    after = made(tmp_path, now=NOW + timedelta(days=3621))

    assert after.chain != before.chain
    certificate_in(after.chain).verify_directly_issued_by(certificate_in(after.root_file.read_bytes()))


def test_a_certificate_never_outlives_its_root(tmp_path):
    made(tmp_path)

    late = made(tmp_path, now=NOW + timedelta(days=3600))

    root = certificate_in(late.root_file.read_bytes())
    assert certificate_in(late.chain).not_valid_after_utc == root.not_valid_after_utc


@pytest.mark.parametrize("lost", ["root.pem", "root-key.pem", "server.pem", "server-key.pem"])
def test_a_lost_file_is_made_anew(tmp_path, lost):
    made(tmp_path)
    (tmp_path / "tls" / lost).unlink()

    again = made(tmp_path)

    certificate_in(again.chain).verify_directly_issued_by(certificate_in(again.root_file.read_bytes()))
    operators_certificate(tmp_path / "tls" / "server.pem", tmp_path / "tls" / "server-key.pem")


def test_a_key_of_another_certificate_is_made_anew(tmp_path):
    made(tmp_path)
    made(tmp_path / "another")
    (tmp_path / "another" / "tls" / "server-key.pem").replace(tmp_path / "tls" / "server-key.pem")

    made(tmp_path)

    operators_certificate(tmp_path / "tls" / "server.pem", tmp_path / "tls" / "server-key.pem")


def test_a_damaged_file_is_told(tmp_path):
    made(tmp_path)
    (tmp_path / "tls" / "server.pem").write_text("nonsense")

    with pytest.raises(CertificateError, match=r"tls/server\.pem or its key is damaged .*; remove .*tls, and"):
        made(tmp_path)


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "tls").write_text("not a directory")

    with pytest.raises(CertificateError, match=r"tls: File exists"):
        made(tmp_path)


def test_this_machine_is_known_by_its_usual_names():
    assert usual_hosts("192.0.2.7") == ("localhost", "127.0.0.1", "::1", socket.gethostname(), "192.0.2.7")
    assert usual_hosts("0.0.0.0") == ("localhost", "127.0.0.1", "::1", socket.gethostname())
    assert usual_hosts("127.0.0.1") == ("localhost", "127.0.0.1", "::1", socket.gethostname())


def test_an_operator_brings_certificate_and_key(tmp_path):
    made(tmp_path)
    chain, key = tmp_path / "tls" / "server.pem", tmp_path / "tls" / "server-key.pem"

    brought = operators_certificate(chain, key)

    assert (brought.chain, brought.private_key) == (chain.read_bytes(), key.read_bytes())
    assert brought.root_file is None


@pytest.mark.parametrize(
    ("certificate", "key", "told"),
    [
        ("none.pem", "server-key.pem", r"none\.pem cannot be read: No such file"),
        ("server.pem", "none.pem", r"none\.pem cannot be read: No such file"),
        ("server-key.pem", "server-key.pem", r"server-key\.pem holds no PEM certificate"),
        ("server.pem", "server.pem", r"server\.pem holds no PEM private key"),
        ("server.pem", "root-key.pem", r"the key in .*root-key\.pem is not that of the first certificate in .*server"),
        ("server.pem", "locked.pem", r"locked\.pem is protected by a password"),
    ],
)
def test_what_an_operator_brings_wrong_is_told(tmp_path, certificate, key, told):
    made(tmp_path)
    directory = tmp_path / "tls"
    secret = serialization.load_pem_private_key((directory / "server-key.pem").read_bytes(), None)
    (directory / "locked.pem").write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )

    with pytest.raises(CertificateError, match=told):
        operators_certificate(directory / certificate, directory / key)
