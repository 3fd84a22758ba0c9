"""The verb that reads where a video comes from: verify."""

from __future__ import annotations

import json as json_format
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from kinema.console import option, say

if TYPE_CHECKING:
    from kinema.provenance import Manifest
    from kinema.watermark import Watermark

NOTHING, TAMPERED = 1, 3


def verify(
    video: Annotated[Positional[Path], arg(name="video", metavar="VIDEO")],
    json: bool = False,
    roots: Annotated[Path | None, option("FILE.pem")] = None,
) -> None:
    """Say where a video comes from, by its C2PA manifest and its watermark.

    $ kinema verify video.mp4
    $ kinema verify video.mp4 --roots company.pem --json

    Status 0: a manifest that holds, or a watermark; 1: neither, which does not mean that no AI made it; 2: no video;
    3: a manifest that does not hold. docs/provenance.md says what each of them proves.

    Args:
        video: a video file
        json: print JSON instead of sentences
        roots: certificates, PEM, whose signers are trusted
    """
    from kinema.provenance import read_manifest
    from kinema.video import read_frames
    from kinema.watermark import find_watermark

    mark = find_watermark(read_frames(video))
    manifest = read_manifest(video, roots)
    if json:
        found = {
            "manifest": manifest and {**asdict(manifest), "local": manifest.local},
            "watermark": {**asdict(mark), "found": mark.found},
        }
        sys.stdout.write(json_format.dumps({"video": str(video), **found}, indent=2) + "\n")
    else:
        for line in (*_of_manifest(manifest, roots is not None), _of_watermark(mark)):
            say(f"{video}: {line}")
    if manifest is not None and manifest.state == "tampered":
        raise SystemExit(TAMPERED)
    if manifest is None and not mark.found:
        raise SystemExit(NOTHING)


def _of_manifest(manifest: Manifest | None, rooted: bool) -> list[str]:
    if manifest is None:
        return ["no C2PA manifest"]
    if manifest.state == "tampered":
        return [
            f"its C2PA manifest does NOT hold: the file or the manifest was changed ({', '.join(manifest.problems)})"
        ]
    made = "made by AI" if manifest.ai else "not said to be made by AI"
    preset = f", preset {manifest.preset}" if manifest.preset else ""
    lines = [f"its C2PA manifest holds, nothing was changed since it was signed: {manifest.generator}, {made}{preset}"]
    if manifest.local:
        return [*lines, f'signed as "{manifest.signer}": a certificate that anyone can make, which proves nobody']
    known = "trusted, under the given roots" if manifest.trusted else "which --roots does not know"
    return [*lines, f'signed as "{manifest.signer}", {known if rooted else "a name that nobody checked (--roots)"}']


def _of_watermark(mark: Watermark) -> str:
    if not mark.found:
        return f"no watermark of kinema found ({mark.z:.1f} standard deviations)"
    by_chance = f"by chance in at most {mark.chance:.0e} of videos"
    return f"watermark of kinema, {mark.preset}: {mark.z:.1f} standard deviations, {by_chance}"
