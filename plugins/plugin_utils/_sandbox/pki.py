# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one certificate authority of a sandbox: it signs whatever its agent hands out or serves with."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Dict, Sequence, Tuple

from ...module_utils._engine.errors import EngineError, MissingLibrary

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

LIFETIME = timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates; its key is in the sandbox's folder ``ca`` and goes into snapshots with it."""

    def __init__(self, folder: Path) -> None:
        if not HAS_CRYPTOGRAPHY:
            raise MissingLibrary("cryptography", sys.executable)
        if not (folder / "ca.crt").is_file():
            self._found(folder)
        self.certificate: bytes = (folder / "ca.crt").read_bytes()
        self._ca = x509.load_pem_x509_certificate(self.certificate)
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise EngineError("not the key of a sandbox's authority", subject=str(folder / "ca.key"))
        self._key = key
        self._contexts: Dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    @staticmethod
    def _found(folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sandbox stand-in CA")])
        now = datetime.now(timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        with open(os.open(folder / "ca.key", os.O_CREAT | os.O_WRONLY, 0o600), "wb") as handle:
            handle.write(_pem(key))
        (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, names: Sequence[str]) -> Pair:
        """A key pair whose certificate is valid for these DNS names."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(timezone.utc)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64])]))
            .issuer_name(self._ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + LIFETIME - timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_usage(sign=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))

    def context(self, name: str) -> ssl.SSLContext:
        """What a TLS server that calls itself ``name`` uses; made once."""
        with self._lock:
            context = self._contexts.get(name)
            if context is None:
                context = self._contexts[name] = _server_context(self.issue([name]))
            return context

    def chooser(self) -> ssl.SSLContext:
        """A TLS server that takes the name its client asks for (SNI)."""

        def choose(connection: ssl.SSLObject, name: str, _context: ssl.SSLContext) -> None:
            if name:
                connection.context = self.context(name)

        context = _server_context(self.issue(["sandbox.invalid"]))
        context.sni_callback = choose
        return context


def _usage(sign: bool) -> x509.KeyUsage:
    """For an authority (``sign``) or for a server and client; strict verifiers want it said."""
    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def _server_context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    with tempfile.NamedTemporaryFile() as handle:  # ssl loads from files only; this one is private and gone at once
        handle.write(pair.certificate + pair.key)
        handle.flush()
        context.load_cert_chain(handle.name)
    return context


def validity(certificate: bytes) -> Tuple[str, str]:
    """Not before, not after: as Kubernetes writes times."""
    parsed = x509.load_pem_x509_certificate(certificate)
    times = (parsed.not_valid_before_utc, parsed.not_valid_after_utc)
    return times[0].strftime("%Y-%m-%dT%H:%M:%SZ"), times[1].strftime("%Y-%m-%dT%H:%M:%SZ")
