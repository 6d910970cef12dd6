"""Certificates are checked on every system, also with the OpenSSL of another one."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from engine.imagery.server import certificates


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL looks for authorities where this system has none, as a program built on Debian does on Fedora."""

    def bare() -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    nowhere = ssl.get_default_verify_paths()._replace(cafile=None, capath=None)
    monkeypatch.setattr(ssl, "create_default_context", bare)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)


def test_the_systems_authorities_are_found_elsewhere(
    elsewhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certifi = pytest.importorskip("certifi")
    one = tmp_path / "bundle.crt"
    text = Path(certifi.where()).read_text("utf-8")
    end = "-----END CERTIFICATE-----\n"
    one.write_text(text.partition(end)[0] + end, "utf-8")
    monkeypatch.setattr(certificates, "_KNOWN", (str(tmp_path / "none"), str(one)))
    context = certificates.trusting_context()
    assert context.cert_store_stats()["x509_ca"] == 1
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


def test_where_there_are_none_those_that_come_along_are_used(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("certifi")
    monkeypatch.setattr(certificates, "_KNOWN", ())
    assert certificates.trusting_context().cert_store_stats()["x509_ca"] > 50


def test_a_certificate_nobody_vouches_for_is_refused_as_ever() -> None:
    context = certificates.trusting_context()
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
