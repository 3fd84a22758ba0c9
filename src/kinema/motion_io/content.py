"""What a motion file really is, by its first bytes, and reading it whole: shared by every format.

A wrong name is the commonest mistake with motion files, so every refusal can say what the file is instead.
"""

from __future__ import annotations

from pathlib import Path

from kinema.errors import InputError

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"PK", "a zip archive (such as .npz)"),
    (b"\x93NUMPY", "a single numpy array (.npy)"),
    (b"\x80", "a Python pickle"),
    (b"glTF", "binary glTF (.glb)"),
    (b"HIERARCHY", "a BVH motion file"),
    (b"Kaydara FBX", "an FBX scene"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"{", "JSON text"),
    (b":ASF", "an Acclaim skeleton (.asf)"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"\xff\xfe", "UTF-16 text, which must be saved as UTF-8"),
)


def describe_content(data: bytes) -> str:
    """What the start of a file says that it is, in words."""
    if not data.strip():
        return "an empty file"
    for signature, name in SIGNATURES:
        if data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(signature):
            return name
    if data[4:8] == b"ftyp":
        return "a video (.mp4, .mov)"
    return "data of an unknown kind" if b"\0" in data[:4096] else "text"


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises InputError where there is none or it cannot be read."""
    if path.is_dir():
        raise InputError(path, "is a folder", expected="a motion file")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob(f"{path.stem}.*")) if path.parent.is_dir() else []
        mend = f"there is {', '.join(near[:5])} in that folder" if near else "check the path"
        raise InputError(path, "does not exist", expected="a motion file", mend=mend) from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from error
