"""An annotated clip <-> the members of a webdataset shard; equal clips give equal bytes.

Input: `AnnotatedClip`. Output: bytes by suffix, as in `SUFFIXES`; docs/annotate.md describes each. The video is H.264 (one
thread, so that the number of cores changes nothing), masks are run lengths as YouTube-VIS has them, which `kinema mask`
reads as well, depth is its logarithm in 8 bits.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import Float, Float32, UInt8

from kinema.annotate.record import SCHEMA, AnnotatedClip
from kinema.errors import InputError
from kinema.masks import rle
from kinema.motion_io.scene import scene_arrays, scene_of
from kinema.types import Video
from kinema.video import X264

SUFFIXES = ("mp4", "txt", "json", "masks.json", "maps.npz", "tracks.npz", "scene.npz")
"""In the order of the shard; the last one is missing where there is no 3D."""
DEPTH_CODES = 254
"""Steps of the logarithm of depth between a clip's nearest and farthest; code 0: unknown."""


def members_of(clip: AnnotatedClip) -> dict[str, bytes]:
    """The files of a clip, by suffix."""
    frames, height, width = clip.video.frames.shape[:3]
    about = {
        "schema": SCHEMA,
        "key": clip.key,
        "recipe": clip.recipe,
        "stages": dict(clip.stages),
        "caption": clip.caption,
        "made_caption": clip.made_caption,
        "source": clip.source,
        "licence": clip.licence,
        "sha256": clip.sha256,
        "frames": list(clip.frames),
        "fps": clip.video.fps,
        "size": [frames, height, width],
        "labels": list(clip.labels),
        "categories": list(clip.categories),
        "quality": {k: v if math.isfinite(v) else None for k, v in clip.quality.items()},
    }
    maps: dict[str, np.ndarray] = {"part_ids": clip.part_ids}
    if clip.depth_m is not None:
        maps["depth_codes"], maps["depth_range_m"] = quantised(clip.depth_m)
    tracks = {"present": clip.present, "boxes_px": clip.boxes_px}
    tracks |= {f"{k}.keypoints": points for k, points in enumerate(clip.keypoints)}
    tracks |= {f"{k}.hands": points for k, points in clip.hands.items()}
    tracks |= {f"{k}.face": points for k, points in clip.faces.items()}
    members = {
        "mp4": encoded(clip.video),
        "txt": clip.caption.encode(),
        "json": _json(about),
        "masks.json": _json(_masks_out(clip)),
        "maps.npz": packed(maps),
        "tracks.npz": packed(tracks),
    }
    return members if clip.scene is None else members | {"scene.npz": packed(scene_arrays(clip.scene))}


def clip_of(members: dict[str, bytes], where: str) -> AnnotatedClip:
    """The clip of its files. `where`: shard and key, for errors. Raises InputError for another schema, for a file that is
    missing or damaged, and where they do not fit each other."""
    missing = [s for s in SUFFIXES[:-1] if s not in members]
    if missing:
        raise InputError(where, "lacks " + ", ".join(f".{s}" for s in missing), "all files of a clip")
    try:
        about = json.loads(members["json"])
        if about.get("schema") != SCHEMA:
            raise InputError(
                where, f"is of schema {about.get('schema')!r}", f"schema {SCHEMA}, which this kinema writes and reads",
                "annotate it anew, or read it with the kinema that wrote it",
            )  # fmt: skip
        frames, height, width = about["size"]
        video = decoded(members["mp4"], float(about["fps"]), (height, width), where)
        if len(video.frames) != frames:
            raise InputError(where, f"its video has {len(video.frames)} frames", f"{frames}, as its .json says")
        maps, tracks = unpacked(members["maps.npz"]), unpacked(members["tracks.npz"])
        depth = dequantised(maps["depth_codes"], maps["depth_range_m"]) if "depth_codes" in maps else None
        scene = scene_of(unpacked(members["scene.npz"])) if "scene.npz" in members else None
        labels = tuple(about["labels"])
        clip = AnnotatedClip(
            about["key"], video, members["txt"].decode(), labels, tuple(about["categories"]),
            _masks_in(json.loads(members["masks.json"]), (frames, len(labels), height, width), where),
            tracks["present"], tracks["boxes_px"], tuple(tracks[f"{k}.keypoints"] for k in range(len(labels))),
            maps["part_ids"], depth, scene,
            {k: float("nan") if v is None else v for k, v in about["quality"].items()},
            about["source"], about["licence"], about["sha256"], (about["frames"][0], about["frames"][1]),
            about["recipe"], about["stages"], about["made_caption"],
            *({k: tracks[f"{k}.{n}"] for k in range(len(labels)) if f"{k}.{n}" in tracks} for n in ("hands", "face")),
        )  # fmt: skip
    except InputError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise InputError(where, f"is damaged ({e})", "a clip that kinema annotate wrote") from e
    if clip.part_ids.shape != (frames, height, width) or clip.present.shape != (frames, len(labels)):
        raise InputError(where, f"its part masks are of {clip.part_ids.shape}", f"{(frames, height, width)}")
    return clip


def encoded(video: Video) -> bytes:
    """H.264, BT.709; an odd last row or column is repeated."""
    frames = video.frames
    even = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1001), options=X264)
        stream.height, stream.width, stream.pix_fmt = even.shape[1], even.shape[2], "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.colorspace = Colorspace.ITU709.value
        stream.codec_context.color_range = ColorRange.MPEG.value
        for frame in even:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(
                stream.encode(
                    picture.reformat(
                        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                    )
                )
            )
        container.mux(stream.encode())
    return target.getvalue()


def decoded(data: bytes, fps: float, hw: tuple[int, int], where: str) -> Video:
    """The frames of such a video, without the rows and columns that were added."""
    try:
        with av.open(io.BytesIO(data), "r") as container:
            frames = [p.to_ndarray(format="rgb24")[: hw[0], : hw[1]] for p in container.decode(video=0)]
    except (FFmpegError, IndexError) as error:
        raise InputError(where, f"its video cannot be decoded ({error})", "an .mp4") from error
    if not frames:
        raise InputError(where, "its video has no frames", "at least one")
    return Video(np.ascontiguousarray(np.stack(frames)), fps)


def quantised(depth_m: Float[np.ndarray, "T H W"]) -> tuple[UInt8[np.ndarray, "T H W"], Float32[np.ndarray, " 2"]]:
    """Depth as codes 1-255 of its logarithm, 0 where it is unknown; and the clip's nearest and farthest, metres.

    The error is at most ln(far / near) / 508 of the depth: 0.5 % where one is ten times as far as the other.
    """
    known = np.isfinite(depth_m) & (depth_m > 0)
    if not known.any():
        return np.zeros(depth_m.shape, np.uint8), np.ones(2, np.float32)
    near, far = float(depth_m[known].min()), float(depth_m[known].max())
    step = max(math.log(far / near), 1e-6) / DEPTH_CODES
    codes = np.zeros(depth_m.shape, np.uint8)
    codes[known] = 1 + np.rint(np.log(depth_m[known] / near) / step)
    return codes, np.array([near, far], np.float32)


def dequantised(codes: UInt8[np.ndarray, "T H W"], range_m: Float32[np.ndarray, " 2"]) -> Float32[np.ndarray, "T H W"]:
    """Codes -> metres, inf where unknown."""
    step = max(math.log(float(range_m[1]) / float(range_m[0])), 1e-6) / DEPTH_CODES
    table = float(range_m[0]) * np.exp(step * (np.arange(256) - 1.0))
    table[0] = np.inf
    return table.astype(np.float32)[codes]


def packed(arrays: dict[str, Any]) -> bytes:
    """Arrays as a compressed .npz; nothing in it tells when it was made."""
    target = io.BytesIO()
    np.savez_compressed(target, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    return target.getvalue()


def unpacked(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def _masks_out(clip: AnnotatedClip) -> dict[str, Any]:
    """As YouTube-VIS; a clip without subjects has no annotations."""
    from kinema.masks.coco import as_youtube_vis
    from kinema.types import MaskSequence

    if clip.masks.shape[1]:
        return as_youtube_vis(MaskSequence(clip.masks, clip.labels, clip.video.fps))
    return {"videos": [], "categories": [], "annotations": []}


def _masks_in(content: dict[str, Any], shape: tuple[int, int, int, int], where: str) -> np.ndarray:
    frames, count, height, width = shape
    masks = np.zeros(shape, bool)
    annotations = content["annotations"]
    if len(annotations) != count:
        raise InputError(where, f"has masks of {len(annotations)} subjects", f"{count}, as its .json says")
    for n, annotation in enumerate(annotations):
        for t in range(frames):
            run_lengths = annotation["segmentations"][t]
            if run_lengths is not None:
                counts = rle.decompress(run_lengths["counts"], where)
                masks[t, n] = rle.decode(counts, (height, width), where)
    return masks
