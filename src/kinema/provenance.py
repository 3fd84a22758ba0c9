"""Where a video comes from, written into it and read from it: a signed C2PA manifest (c2pa.org, version 2.2).

`write_generated` is what writes every video that a model has made. The manifest says that kinema made it, in which
version, with which preset, and that it is made by AI; nothing of the user, the picture, the prompt or the time. Signing
changes no frame: it adds a box to the MP4. Nothing here uses the network: no time stamps, no lists of revoked or trusted
certificates, no manifests that lie elsewhere.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinema.errors import InputError
from kinema.signer import CERT, KEY, LOCAL_NAME, Signer, find_signer
from kinema.video import Frame, write_video
from kinema.watermark import marked

if TYPE_CHECKING:
    import c2pa

AI = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's digital source type of what a trained model made."""
OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
    "builder": {"thumbnail": {"enabled": False}},
}
UNTRUSTED = "signingCredential.untrusted"
"""C2PA's status of a signer that is on no list of trusted ones."""
NO_MANIFEST = ("ManifestNotFound", "NotSupported")
"""c2pa's words for a file without one, and for a kind of file that can't hold one."""
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Manifest:
    """What a file's manifest says, and whether it holds.

    state      valid: the file is as it was signed; tampered: the file, the manifest or the signature has been changed
    trusted    the signer's certificate was issued under one of the given roots
    signer     the name in that certificate; anyone can make one of any name
    generator  the program that claims to have made the file, with its version
    ai         it claims to be made by a trained model        preset  of kinema
    problems   C2PA's codes of what does not hold
    """

    state: Literal["valid", "tampered"]
    trusted: bool
    signer: str
    generator: str
    ai: bool
    preset: str | None
    problems: tuple[str, ...]

    @property
    def local(self) -> bool:
        """Signed under the name of kinema's own certificates, which proves nobody."""
        return self.signer == LOCAL_NAME


def write_generated(frames: Iterable[Frame], path: str | Path, fps: float, preset: str, watermark: bool = False) -> int:
    """`write_video` of what a model of that preset made, with its manifest and, where asked, the watermark.

    A folder of PNG files gets the watermark only. A video that could not be signed is kept, with a warning.
    """
    made = marked(frames, preset) if watermark else frames
    return write_video(made, path, fps, finish=lambda temporary: sign(temporary, preset))


def check_signer() -> None:
    """Raise InputError where the user's own certificate could not sign, before any work is done for it."""
    import c2pa
    import cv2
    import numpy as np

    if not (os.environ.get(CERT) or os.environ.get(KEY)):
        return
    picture = BytesIO(cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes())
    try:
        with _context() as context, c2pa.Builder(manifest_of("trial", "image/png"), context) as builder:
            builder.sign(_native(find_signer()), "image/png", picture, BytesIO())
    except c2pa.C2paError as error:
        expected = "a certificate for signing documents: C2PA 2.2, section 14.5.1"
        raise InputError(os.environ[CERT], f"cannot sign a video ({error})", expected, f"unset {CERT} {KEY}") from error


def sign(path: str | Path, preset: str) -> bool:
    """Put the manifest into an MP4; -> whether it is in. On any failure the file stays as it is, with a warning."""
    import c2pa

    path, temporary = Path(path), None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        with _context() as context, c2pa.Builder(manifest_of(preset), context) as builder:
            builder.sign_file(path, temporary, _native(find_signer()))
        temporary.chmod(path.stat().st_mode)
        temporary.replace(path)
        return True
    except (c2pa.C2paError, InputError, OSError) as error:
        _LOGGER.warning("the video has no C2PA manifest: %s", error)
        return False
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def manifest_of(preset: str, kind: str = "video/mp4") -> dict[str, Any]:
    """The manifest's definition, as c2pa takes it."""
    import kinema

    maker = {"name": "kinema", "version": kinema.__version__}
    made = {
        "action": "c2pa.created",
        "digitalSourceType": AI,
        "softwareAgent": maker,
        "parameters": {"com.github.kinema.preset": preset},
    }
    actions = {"label": "c2pa.actions.v2", "data": {"actions": [made]}}
    return {"claim_generator_info": [maker], "format": kind, "assertions": [actions]}


def read_manifest(path: str | Path, roots: str | Path | None = None) -> Manifest | None:
    """The manifest of a file, None where it has none. roots: PEM of the certificates whose signers are trusted."""
    import c2pa

    if not Path(path).is_file():
        raise InputError(path, "does not exist", expected="a video file")
    try:
        with _context(roots) as context, c2pa.Reader(str(path), context=context) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError as error:
        problem = str(error).partition(":")[0]
        if problem in NO_MANIFEST:
            return None
        return Manifest("tampered", False, "", "", False, None, (problem,))
    return _manifest(store)


def _manifest(store: dict[str, Any]) -> Manifest:
    active = store["manifests"][store["active_manifest"]]
    found = store.get("validation_results", {}).get("activeManifest", {})
    problems = tuple(dict.fromkeys(one["code"] for one in found.get("failure", []) if one["code"] != UNTRUSTED))
    maker = (active.get("claim_generator_info") or [{}])[0]
    actions = [
        a for one in active.get("assertions", []) for a in one["data"].get("actions", ()) if "actions" in one["label"]
    ]
    made = next((a for a in actions if a.get("action") == "c2pa.created"), {})
    signer = active.get("signature_info") or {}
    return Manifest(
        state="tampered" if problems or store.get("validation_state") == "Invalid" else "valid",
        trusted=store.get("validation_state") == "Trusted",
        signer=signer.get("common_name") or signer.get("issuer") or "",
        generator=" ".join(str(maker[k]) for k in ("name", "version") if k in maker),
        ai=str(made.get("digitalSourceType", "")).endswith("rainedAlgorithmicMedia"),
        preset=made.get("parameters", {}).get("com.github.kinema.preset"),
        problems=problems,
    )


def _context(roots: str | Path | None = None) -> c2pa.Context:
    import c2pa

    settings: dict[str, Any] = dict(OFFLINE)
    if roots is not None:
        try:
            pem = Path(roots).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(roots, f"cannot be read ({error})", "a PEM file of certificates") from error
        if "BEGIN CERTIFICATE" not in pem:
            raise InputError(roots, "holds no certificates", "a PEM file of certificates")
        settings["trust"] = {"user_anchors": pem}
        settings["verify"] = settings["verify"] | {"verify_trust": True}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def _native(signer: Signer) -> c2pa.Signer:
    import c2pa

    no_timestamps = None
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(signer.algorithm, signer.certificates, signer.key, no_timestamps))
