"""Whom to trust on the network: the system's authorities, also where this Python was built on another system.

A frozen program carries the OpenSSL of the machine it was built on, which looks for the authorities where that machine
keeps them. Other systems keep them elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import ssl

_KNOWN = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)


def trusting_context() -> ssl.SSLContext:
    """A context that checks certificates and host names."""
    context = ssl.create_default_context()
    places = ssl.get_default_verify_paths()
    if not context.cert_store_stats()["x509_ca"] and not (places.cafile or places.capath):
        bundle = next((path for path in _KNOWN if os.path.isfile(path)), None) or _carried()
        if bundle is not None:
            context.load_verify_locations(bundle)
    return context


def _carried() -> str | None:
    """The authorities that come with certifi, which rasterio brings along."""
    with contextlib.suppress(ImportError):
        import certifi

        return certifi.where()
    return None
