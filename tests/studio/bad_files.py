"""Files that mean harm, or are only too large, made from a few bytes."""

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image


def picture(path, kind="PNG"):
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(path, kind)
    return path


def png_of_size(path, width, height):
    """A PNG whose header states any size; hardly any bytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(content)
    return path


def zip_of(**files):
    """A .zip in memory: name -> content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return packed.getvalue()


def zip_bomb():
    """It states 600 MB in both of its headers."""
    return zip_of(**{"0.png": bytes(1 << 16)}).replace(struct.pack("<I", 1 << 16), struct.pack("<I", 600 << 20))
