"""The watermark against what happens to videos: found or not, what it costs, and what is found where there is none.

    python benchmarks/watermark.py VIDEO...

Of each video 16 frames at 8 a second, in two sizes: 128x128 (cut), as the mini models make them, and 360 pixels high. Tells,
for every treatment, of how many videos the right preset was found; then how much the unmarked ones resemble a mark.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from kinema.video import X264, read_frames, write_video
from kinema.watermark import find_watermark, marked

Frames = list[np.ndarray]
FRAMES, FPS = 16, 8.0


def scaled(frames: Frames, factor: float) -> Frames:
    height, width = frames[0].shape[:2]
    size = (round(width * factor / 2) * 2, round(height * factor / 2) * 2)
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


def cropped(frames: Frames, share: float) -> Frames:
    """Without half the share of its height and width on every side."""
    y, x = (round(side * share / 2) for side in frames[0].shape[:2])
    return [frame[y : frame.shape[0] - y, x : frame.shape[1] - x] for frame in frames]


def turned(frame: np.ndarray, degrees: float) -> np.ndarray:
    height, width = frame.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(frame, turn, (width, height), borderMode=cv2.BORDER_REFLECT)


def compressed(frames: Frames, crf: int) -> Frames:
    with tempfile.TemporaryDirectory() as folder:
        X264["crf"] = str(crf)
        write_video(frames, Path(folder) / "clip.mp4", FPS)
        return list(read_frames(Path(folder) / "clip.mp4"))


def jpeg(frame: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], cv2.IMREAD_COLOR)


TREATMENTS: dict[str, Callable[[Frames], Frames]] = {
    "none": lambda frames: frames,
    "H.264, CRF 16 (kinema's own)": lambda frames: compressed(frames, 16),
    "H.264, CRF 23": lambda frames: compressed(frames, 23),
    "H.264, CRF 28": lambda frames: compressed(frames, 28),
    "H.264, CRF 33": lambda frames: compressed(frames, 33),
    "75 % of the size, CRF 23": lambda frames: compressed(scaled(frames, 0.75), 23),
    "75 % of the size, CRF 28": lambda frames: compressed(scaled(frames, 0.75), 28),
    "50 % of the size, CRF 23": lambda frames: compressed(scaled(frames, 0.5), 23),
    "one frame, JPEG 75": lambda frames: [jpeg(frames[0])],
    "brighter, with more contrast": lambda frames: [cv2.convertScaleAbs(f, alpha=1.15, beta=10) for f in frames],
    "blurred, sigma 1 pixel": lambda frames: [cv2.GaussianBlur(frame, (0, 0), 1) for frame in frames],
    "cropped by 5 %": lambda frames: cropped(frames, 0.05),
    "cropped by 10 %": lambda frames: cropped(frames, 0.1),
    "cropped by 10 %, CRF 23": lambda frames: compressed(cropped(frames, 0.1), 23),
    "cropped by 15 %": lambda frames: cropped(frames, 0.15),
    "mirrored, CRF 23": lambda frames: compressed([np.ascontiguousarray(f[:, ::-1]) for f in frames], 23),
    "turned by 2 degrees": lambda frames: [turned(frame, 2.0) for frame in frames],
}


def sizes(path: Path) -> dict[str, Frames]:
    frames = list(islice(read_frames(path, FPS), FRAMES))
    side = min(frames[0].shape[:2])
    y, x = ((length - side) // 2 for length in frames[0].shape[:2])
    squares = [cv2.resize(f[y : y + side, x : x + side], (128, 128), interpolation=cv2.INTER_AREA) for f in frames]
    return {"128x128": squares} | ({"360 high": scaled(frames, 360 / side)} if side >= 360 else {})


def psnr(a: Frames, b: Frames) -> float:
    return float(10 * np.log10(255**2 / np.mean((np.stack(a).astype(float) - np.stack(b)) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    found: dict[str, list[list[bool]]] = {}
    quality: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    unmarked: list[float] = []
    for path in parser.parse_args().videos:
        for size, frames in sizes(path).items():
            before = time.process_time()
            clip = list(marked(frames, "mini-svd"))
            seconds.setdefault(size, []).append((time.process_time() - before) / len(frames))
            quality.setdefault(size, []).append(psnr(frames, clip))
            marks = [find_watermark(treat(clip)) for treat in TREATMENTS.values()]
            found.setdefault(size, []).append([mark.found and mark.preset == "mini-svd" for mark in marks])
            unmarked += [find_watermark(frames).chance, *(find_watermark([frame]).chance for frame in frames[::8])]
    print("| what was done to it | " + " | ".join(f"{size}, of {len(rows)}" for size, rows in found.items()) + " |")
    print("| --- |" + " --- |" * len(found))
    for number, name in enumerate(TREATMENTS):
        print(f"| {name} | " + " | ".join(str(sum(row[number] for row in rows)) for rows in found.values()) + " |")
    for size in found:
        level = quality[size]
        print(f"{size}: PSNR {np.mean(level):.1f} dB, {min(level):.1f} to {max(level):.1f}; "
              f"marking takes {1e3 * np.mean(seconds[size]):.1f} ms of processor a frame")  # fmt: skip
    print(f"unmarked: of {len(unmarked)} clips and frames the most like a mark is so by chance in {min(unmarked):.2g}")


if __name__ == "__main__":
    main()
