"""Who signs a video: the user's own certificate, or a local one that says of itself that it proves nobody.

KINEMA_C2PA_CERT   PEM file: the user's certificate, then those that issued it (C2PA 2.2, section 14.5)
KINEMA_C2PA_KEY    PEM file: its private key, without a password
KINEMA_CONFIG      the folder of the local one, else ~/.config/kinema

The local one is made once a machine. Its issuer's key is thrown away at once, so that nothing else can be issued by it;
its own key is in a file that only its owner can read, written whole or not at all. Nothing here uses the network.
"""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinema.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

LOCAL_NAME = "kinema local, unverified"
LOCAL_FILE = "c2pa_local.pem"
LIFETIME = timedelta(days=3650)
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"""C2PA 2.2, section 13.2: the signatures that may be used, by the curve of the key."""
CERT, KEY = "KINEMA_C2PA_CERT", "KINEMA_C2PA_KEY"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signer:
    """PEM of the certificates, the first one's private key, and the signature algorithm as C2PA names it."""

    certificates: bytes
    key: bytes = field(repr=False)
    algorithm: str = "es256"


def find_signer() -> Signer:
    """The user's, where both variables are set, else the local one. Raises InputError where they can't be used."""
    cert, key = os.environ.get(CERT), os.environ.get(KEY)
    if not cert and not key:
        return local_signer()
    if not cert or not key:
        raise InputError(KEY if cert else CERT, "is not set", f"a PEM file, as {CERT if cert else KEY} is one")
    return read_signer(Path(cert), Path(key))


def read_signer(cert: Path, key: Path) -> Signer:
    """A signer from PEM files. Raises InputError where they are none, or don't belong together."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        of_certificates, of_key = cert.read_bytes(), key.read_bytes()
    except OSError as error:
        raise InputError(error.filename, f"cannot be read ({error.strerror})", "a PEM file") from error
    try:
        chain = x509.load_pem_x509_certificates(of_certificates)
    except ValueError as error:
        raise InputError(cert, "holds no certificates", "PEM: the signer's, then those that issued it") from error
    try:
        private = serialization.load_pem_private_key(of_key, None)
    except (ValueError, TypeError) as error:
        mend = f"openssl pkey -in {key} -out key.pem, where it has a password"
        raise InputError(key, "holds no private key that can be read", "PEM, without a password", mend) from error
    if _public(chain[0].public_key()) != _public(private.public_key()):
        raise InputError(key, f"is not the key of the first certificate in {cert}", "a key and its own certificate")
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    return Signer(pem, _pkcs8(private), _algorithm(private, key))


def local_signer() -> Signer:
    """The local one of this machine, made where there is none yet. Raises InputError where its file is damaged."""
    path = config_folder() / LOCAL_FILE
    if not path.exists():
        made = _make_local()
        try:
            _write_private(path, made.key + made.certificates)
        except OSError as error:
            _LOGGER.warning("%s cannot be written (%s): this run signs with a certificate of its own", path, error)
            return made
    if path.stat().st_size == 0:
        raise InputError(path, "is empty", mend="remove it; a new one is made")
    try:
        return read_signer(path, path)
    except InputError as error:
        raise InputError(path, f"is damaged ({error.problem})", mend="remove it; a new one is made") from error


def config_folder() -> Path:
    """$KINEMA_CONFIG, else kinema in the user's folder of settings."""
    own = os.environ.get("KINEMA_CONFIG")
    return Path(own) if own else Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kinema"


def _make_local() -> Signer:
    """A certificate of `LOCAL_NAME` and its key, under an issuer whose key nobody keeps."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    issuer_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _certificate(f"{LOCAL_NAME}: issuer", issuer_key, f"{LOCAL_NAME}: issuer", issuer_key, True)
    own = _certificate(LOCAL_NAME, key, f"{LOCAL_NAME}: issuer", issuer_key, False)
    pem = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (own, issuer))
    return Signer(pem, _pkcs8(key))


def _certificate(
    name: str, key: EllipticCurvePrivateKey, issuer: str, issuer_key: EllipticCurvePrivateKey, issues: bool
) -> Certificate:
    """Of the profile that C2PA asks for: C2PA 2.2, section 14.5.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(words: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(oid, words) for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)])

    now = datetime.now(UTC).replace(microsecond=0)
    usage = x509.KeyUsage(not issues, False, False, False, False, issues, issues, False, False)
    made = (
        x509.CertificateBuilder(named(issuer), named(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(issues, 0 if issues else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not issues:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return made.sign(issuer_key, hashes.SHA256())


def _write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, for the owner's eyes; of two that write at once the first one's stays. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        Path(name).unlink()


def _algorithm(key: Any, path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise InputError(path, "is of a kind that C2PA does not allow", "an EC key (P-256, P-384, P-521), RSA or Ed25519")


def _pkcs8(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
