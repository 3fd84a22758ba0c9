"""Where a video comes from: what is signed is read back, a changed file is told, and no video is ever lost over it."""

from __future__ import annotations

import json
import stat
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import kinema
from commands import refused, status
from kinema.errors import InputError
from kinema.provenance import AI, check_signer, read_manifest, sign, write_generated
from kinema.signer import LOCAL_FILE, LOCAL_NAME, local_signer
from kinema.video import read_video, write_video

FRAMES = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _settings(tmp_path, monkeypatch):
    monkeypatch.setenv("KINEMA_CONFIG", str(tmp_path / "config"))
    for name in ("KINEMA_C2PA_CERT", "KINEMA_C2PA_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def signed(tmp_path):
    write_generated(FRAMES, tmp_path / "signed.mp4", 8.0, "mini-svd")
    return tmp_path / "signed.mp4"


def own_certificate(folder, key, usage=ExtendedKeyUsageOID.EMAIL_PROTECTION):
    """A company's root, a certificate under it, and its key; -> the root's file. The environment is the caller's."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)

    def certificate(name, public, issues):
        subject, issuer = (
            x509.Name([x509.NameAttribute(oid, words) for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)])
            for words in (name, "Studio Root")
        )
        built = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        built = built.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
        built = built.add_extension(x509.BasicConstraints(issues, None), critical=True)
        built = built.add_extension(
            x509.KeyUsage(not issues, *[False] * 4, issues, issues, False, False), critical=True
        )
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        built = built.add_extension(identifier, critical=False)
        built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        if not issues:
            built = built.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return built.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root = certificate("Studio Root", root_key.public_key(), True)
    (folder / "root.pem").write_bytes(root)
    (folder / "cert.pem").write_bytes(certificate("Studio Example", key.public_key(), False))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(secret)
    return folder / "root.pem"


def use(folder, monkeypatch):
    monkeypatch.setenv("KINEMA_C2PA_CERT", str(folder / "cert.pem"))
    monkeypatch.setenv("KINEMA_C2PA_KEY", str(folder / "key.pem"))


def test_a_generated_video_says_who_made_it_and_nothing_else(signed, tmp_path):
    found = read_manifest(signed)
    assert found is not None
    assert (found.state, found.trusted, found.ai, found.preset, found.problems) == (
        "valid",
        False,
        True,
        "mini-svd",
        (),
    )
    assert found.generator == f"kinema {kinema.__version__}"
    assert found.signer == LOCAL_NAME
    write_video(FRAMES, tmp_path / "plain.mp4", 8.0)
    assert read_manifest(tmp_path / "plain.mp4") is None
    plain = read_video(tmp_path / "plain.mp4").frames
    assert sign(tmp_path / "plain.mp4", "mini-svd")
    assert np.array_equal(read_video(tmp_path / "plain.mp4").frames, plain)
    content = signed.read_bytes()
    assert AI.encode() in content
    for private in (str(tmp_path), "signed.mp4", str(datetime.now(UTC).year) + "-"):
        assert private.encode() not in content


@pytest.mark.parametrize("place", [0.3, 0.7, -0.15])
def test_a_changed_file_is_told(signed, place):
    content = bytearray(signed.read_bytes())
    content[int(place * len(content))] ^= 1
    signed.write_bytes(content)
    found = read_manifest(signed)
    assert found is None or found.state == "tampered"
    if place != 0.3:
        assert status("verify", signed) == 3


def test_signing_takes_less_than_50_ms_of_processor(signed):
    from kinema.provenance import sign

    def seconds():
        before = time.process_time()
        assert sign(signed, "mini-svd")
        return time.process_time() - before

    assert min(seconds() for _ in range(3)) < 0.05


def test_the_local_key_is_made_once_and_is_the_owners(tmp_path, signed):
    path = tmp_path / "config" / LOCAL_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert local_signer().certificates in before
    assert path.read_bytes() == before
    assert before.count(b"PRIVATE KEY") == 2, "the issuer's key is kept nowhere"
    assert [p.name for p in path.parent.iterdir()] == [LOCAL_FILE]


def test_a_video_is_kept_where_it_cannot_be_signed(tmp_path, monkeypatch, caplog):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / LOCAL_FILE).write_text("rubbish")
    assert write_generated(FRAMES, tmp_path / "a.mp4", 8.0, "svd") == 4
    assert "no C2PA manifest" in caplog.text
    assert "remove it" in caplog.text
    assert read_manifest(tmp_path / "a.mp4") is None
    assert len(read_video(tmp_path / "a.mp4").frames) == 4
    monkeypatch.setenv("KINEMA_CONFIG", str(tmp_path / "a.mp4" / "no folder"))
    write_generated(FRAMES, tmp_path / "b.mp4", 8.0, "svd")
    assert "a certificate of its own" in caplog.text
    assert read_manifest(tmp_path / "b.mp4").state == "valid"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "config"]


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_the_users_own_certificate_is_trusted_under_its_root(tmp_path, monkeypatch, capsys, key):
    root = own_certificate(tmp_path, key)
    use(tmp_path, monkeypatch)
    write_generated(FRAMES, tmp_path / "own.mp4", 8.0, "wan", watermark=True)
    assert not (tmp_path / "config").exists()
    found = read_manifest(tmp_path / "own.mp4", root)
    assert (found.state, found.trusted, found.signer) == ("valid", True, "Studio Example")
    assert not read_manifest(tmp_path / "own.mp4").trusted
    assert status("verify", tmp_path / "own.mp4", "--roots", root) == 0
    assert "trusted, under the given roots" in capsys.readouterr().out


def test_a_certificate_that_cannot_sign_is_refused_before_any_work(tmp_path, monkeypatch):
    key = ec.generate_private_key(ec.SECP256R1())
    check_signer()
    own_certificate(tmp_path, key)
    use(tmp_path, monkeypatch)
    check_signer()
    own_certificate(tmp_path, key, ExtendedKeyUsageOID.SERVER_AUTH)
    with pytest.raises(InputError, match="cannot sign a video"):
        check_signer()
    own_certificate(tmp_path, key)
    (tmp_path / "key.pem").write_bytes(local_signer().key)
    with pytest.raises(InputError, match="is not the key of the first certificate"):
        check_signer()
    (tmp_path / "key.pem").write_text("rubbish")
    with pytest.raises(InputError, match="holds no private key"):
        check_signer()
    monkeypatch.delenv("KINEMA_C2PA_KEY")
    with pytest.raises(InputError, match="KINEMA_C2PA_KEY: is not set"):
        check_signer()


def test_verify_says_what_it_found(tmp_path, signed, capsys):
    assert status("verify", signed) == 0
    said = capsys.readouterr().out
    assert "nothing was changed" in said
    assert "proves nobody" in said
    assert "no watermark" in said
    write_video(FRAMES, tmp_path / "plain.mp4", 8.0)
    assert status("verify", tmp_path / "plain.mp4", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["manifest"] is None
    assert found["watermark"]["found"] is False
    smooth = np.full((4, 96, 96, 3), 128, np.uint8)
    write_generated(smooth, tmp_path / "marked", 8.0, "mini-cogvideox", watermark=True)
    frames = read_pngs(tmp_path / "marked")
    write_video(frames, tmp_path / "lost.mp4", 8.0)
    assert status("verify", tmp_path / "lost.mp4", "--json") == 0
    assert json.loads(capsys.readouterr().out)["watermark"]["preset"] == "mini-cogvideox"
    (tmp_path / "no.mp4").write_text("no video")
    assert "is no video" in refused(capsys, "verify", tmp_path / "no.mp4")
    assert "holds no certificates" in refused(capsys, "verify", signed, "--roots", tmp_path / "no.mp4")


def read_pngs(folder):
    import cv2

    return [cv2.imread(str(p))[..., ::-1] for p in sorted(folder.iterdir())]
