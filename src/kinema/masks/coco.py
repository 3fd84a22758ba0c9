"""Masks as COCO-style JSON with run-length codes.

Input: a video of YouTube-VIS ("videos", and "annotations" with "segmentations", one or null a frame; kinema writes this
one), the pictures of COCO ("images", and "annotations" with "image_id" and "segmentation"), or a bare list with an
RLE, a list of them, or null a frame. A segmentation is {"size": [height, width], "counts": list or string}, or polygons.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kinema.errors import InputError
from kinema.masks import rle
from kinema.masks.pictures import numbered
from kinema.masks.polygons import fill
from kinema.types import MaskSequence

LARGEST_PX = 1 << 26
"""Pixels of one mask; more is a damaged file."""


def read_coco(content: Any, where: str) -> tuple[np.ndarray, tuple[str, ...], object]:
    """The content of such a file -> masks bool [T,N,H,W], labels, frames a second where it says so. InputError."""
    try:
        if isinstance(content, list):
            rows, labels, fps = _bare(content, where), None, None
        elif "videos" in content:
            rows, labels, fps = _video(content, where)
        else:
            rows, labels, fps = _images(content, where)
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        raise InputError(where, f"lacks or misuses {error}", "COCO's or YouTube-VIS's keys (docs/masks.md)") from error
    count = max(map(len, rows), default=0)
    sizes = {mask.shape for row in rows for mask in row if mask is not None}
    if len(sizes) != 1:
        found = "no masks" if not sizes else "masks of " + " and ".join(f"{w}x{h}" for h, w in sorted(sizes))
        raise InputError(where, f"holds {found}", "masks of one size")
    masks = np.zeros((len(rows), count, *sizes.pop()), bool)
    for t, row in enumerate(rows):
        for n, mask in enumerate(row):
            if mask is not None:
                masks[t, n] = mask
    return masks, labels or numbered(count), fps


def as_youtube_vis(masks: MaskSequence) -> dict[str, Any]:
    """One video, an annotation an object, the front one first; absent in a frame: null."""
    frames, count, height, width = masks.masks.shape
    names = list(dict.fromkeys(masks.labels))
    annotations = []
    for n in range(count):
        layers = masks.masks[:, n]
        annotations.append({
            "id": n + 1, "video_id": 1, "category_id": names.index(masks.labels[n]) + 1, "iscrowd": 0,
            "height": height, "width": width, "length": frames,
            "segmentations": [_encoded(mask) if mask.any() else None for mask in layers],
            "bboxes": [_box(mask) for mask in layers],
            "areas": [int(mask.sum()) or None for mask in layers],
        })  # fmt: skip
    video = {"id": 1, "width": width, "height": height, "length": frames, "fps": masks.fps}
    video["file_names"] = [f"{t:05d}.png" for t in range(frames)]
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(names)]
    return {"videos": [video], "categories": categories, "annotations": annotations}


def _video(content: dict, where: str) -> tuple[list[list], tuple[str, ...], object]:
    if len(content["videos"]) != 1:
        raise InputError(where, f"holds {len(content['videos'])} videos", "one")
    video = content["videos"][0]
    hw, ours = (video["height"], video["width"]), content["annotations"]
    lengths = {len(a["segmentations"]) for a in ours}
    if len(lengths) != 1:
        raise InputError(where, f"has annotations of {sorted(lengths)} frames", "as many for every object")
    rows = [
        [
            _mask(a["segmentations"][t], hw, f"{where}, annotation {a.get('id', n)}, frame {t}")
            for n, a in enumerate(ours)
        ]
        for t in range(lengths.pop())
    ]
    return rows, _names(content, ours), video.get("fps")


def _images(content: dict, where: str) -> tuple[list[list], tuple[str, ...], object]:
    """An annotation belongs to the object of its "track_id" or "instance_id", without one to that of its category."""
    images = sorted(content["images"], key=lambda i: (i.get("frame_id", 0), i.get("file_name", ""), i["id"]))
    index = {image["id"]: t for t, image in enumerate(images)}
    tracks: dict[object, int] = {}
    firsts, seen = [], {}
    for a in content["annotations"]:
        key = a.get("track_id", a.get("instance_id", ("category", a.get("category_id"))))
        if key not in tracks:
            tracks[key] = len(tracks)
            firsts.append(a)
        place = (index[a["image_id"]], tracks[key])
        if place in seen:
            raise InputError(
                f"{where}, annotation {a.get('id')}", f"is the second of its kind in image {a['image_id']}",
                "a \"track_id\" that tells which is which",
            )  # fmt: skip
        image = images[place[0]]
        hw = (image["height"], image["width"])
        seen[place] = _mask(a["segmentation"], hw, f"{where}, annotation {a.get('id')}")
    rows = [[seen.get((t, n)) for n in range(len(tracks))] for t in range(len(images))]
    return rows, _names(content, firsts), None


def _bare(content: list, where: str) -> list[list]:
    rows = [frame if isinstance(frame, list) else [frame] for frame in content]
    return [[_mask(m, None, f"{where}, frame {t}") for m in row] for t, row in enumerate(rows)]


def _names(content: dict, annotations: list[dict]) -> tuple[str, ...]:
    names = {c["id"]: c["name"] for c in content.get("categories", [])}
    return tuple(str(names.get(a.get("category_id"), f"object {n + 1}")) for n, a in enumerate(annotations))


def _mask(given: Any, hw: tuple[int, int] | None, where: str) -> np.ndarray | None:
    if given is None:
        return None
    if isinstance(given, list):
        if hw is None:
            raise InputError(
                where, "holds a list", "run-length codes: polygons need the size of the picture, as COCO has"
            )
        if not 0 < hw[0] * hw[1] <= LARGEST_PX:
            raise InputError(where, f"is in a picture of {hw[1]}x{hw[0]}", "height and width in pixels")
        return fill([np.asarray(polygon, float).reshape(-1, 2) for polygon in given], hw)
    height, width = given["size"]
    if not 0 < height * width <= LARGEST_PX:
        raise InputError(where, f"is {width}x{height}", "[height, width] of a picture")
    counts = given["counts"]
    return rle.decode(rle.decompress(counts, where) if isinstance(counts, str) else counts, (height, width), where)


def _encoded(mask: np.ndarray) -> dict[str, Any]:
    return {"size": list(mask.shape), "counts": rle.compress(rle.encode(mask))}


def _box(mask: np.ndarray) -> list[int] | None:
    """x, y, width, height, as COCO has boxes."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return [int(v) for v in (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)]
