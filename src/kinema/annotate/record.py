"""What the pipeline of annotation is about: a source, the record that stages add to, the clip that training reads.

ReVision (appendix B) and MVideo (section 4.1) annotate clips of videos. T frames, N subjects, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from kinema.extract.observation import Observation
from kinema.types import Scene, Video

SCHEMA = 1
"""Of shards and index; readers refuse another."""
FILTERED, SET_ASIDE, KEPT = "filtered", "set aside", "kept"
"""What becomes of a clip, or of a video before it is cut: kept; left out by a filter; or it could not be worked on."""


@dataclass(frozen=True)
class Source:
    """One video to be annotated.

    key       its own name in this run, of letters, digits, "-" and "_"
    location  a path, a URL, or a path of a shard where the video lies at `offset` with `size` bytes
    sha256    of the video's bytes; of a URL, of its address: what makes it this source and no other
    caption   None: there is none
    origin    what the credits say: the source's own words, else its file name or URL
    stated_fps  what is said of a URL's frame rate, to be compared once it is here; 0: nothing
    """

    key: str
    location: str
    sha256: str
    caption: str | None = None
    licence: str = ""
    origin: str = ""
    offset: int = 0
    size: int = 0
    suffix: str = ".mp4"
    stated_fps: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """Why a clip, or a video, goes no further. stage: the filter, or where it failed."""

    outcome: str
    stage: str
    reason: str


@dataclass(frozen=True)
class Record:
    """What stages take and give back, each with more in it; a record with a verdict is not looked at again.

    path          the video's file; shots: frames [first, end) of its clips, before it is cut
    first_frame   of this clip in the video (both at the video's own rate), and the frame after its last
    made_caption  whether the caption was made of what is seen
    segments      [N] for each subject the spans of frames [first, end) that were fitted apart
    quality       scores by name; what each means: docs/annotate.md
    """

    source: Source
    key: str
    path: str = ""
    caption: str = ""
    made_caption: bool = False
    fps: float = 0.0
    shots: tuple[tuple[int, int], ...] = ()
    first_frame: int = 0
    end_frame: int = 0
    video: Video | None = None
    observation: Observation | None = None
    scene: Scene | None = None
    part_ids: UInt8[np.ndarray, "T H W"] | None = None
    segments: tuple[tuple[tuple[int, int], ...], ...] = ()
    quality: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None

    def scored(self, **scores: float) -> Record:
        """With more scores; keyword arguments become their names."""
        return replace(self, quality={**self.quality, **scores})

    def filtered(self, stage: str, reason: str) -> Record:
        return replace(self, verdict=Verdict(FILTERED, stage, reason))


@dataclass(frozen=True)
class AnnotatedClip:
    """One annotated clip, as it is in a shard.

    masks        N subjects, each with its visible pixels; labels: what they are called
    categories   human, animal or object, one a subject
    present      frames in which a subject was seen; boxes_px x0 y0 x1 y1, right and lower edges outside
    keypoints    [T,K,3] x, y in pixels and confidence, one array a subject; K = 0 of an object
    hands, faces the same of a person's hands [T,2,21,3] and face [T,68,3] (`kinema.extract.observation.Track`), by the
                 subject's number, where they were looked for
    part_ids     `kinema.body.skeleton.PARTS`, 0 background; all 0 where the recipe draws none
    depth_m      quantised; inf where unknown; None where the recipe estimates none
    scene        SMPL-X, SMAL and 21-point subjects with cameras; frames without a good fit are not valid. None: no 3D
    quality      scores by name
    sha256       of the source's bytes; frames: first and end of the clip in it
    stages       the version of every stage that was run, by its name
    """

    key: str
    video: Video
    caption: str
    labels: tuple[str, ...]
    categories: tuple[str, ...]
    masks: Bool[np.ndarray, "T N H W"]
    present: Bool[np.ndarray, "T N"]
    boxes_px: Float32[np.ndarray, "T N 4"]
    keypoints: tuple[Float32[np.ndarray, "T _ 3"], ...]
    part_ids: UInt8[np.ndarray, "T H W"]
    depth_m: Float32[np.ndarray, "T H W"] | None
    scene: Scene | None
    quality: Mapping[str, float]
    source: str
    licence: str
    sha256: str
    frames: tuple[int, int]
    recipe: str
    stages: Mapping[str, str]
    made_caption: bool = False
    hands: Mapping[int, Float32[np.ndarray, "T 2 21 3"]] = field(default_factory=dict)
    faces: Mapping[int, Float32[np.ndarray, "T 68 3"]] = field(default_factory=dict)


def annotated(record: Record, recipe: str, stages: Mapping[str, str]) -> AnnotatedClip:
    """What a record holds after the last stage, as a clip to be kept."""
    video, seen = record.video, record.observation
    assert video is not None
    assert seen is not None
    frames, height, width = video.frames.shape[:3]
    tracks = seen.tracks
    stacked = [t.masks & t.present[:, None, None] for t in tracks]
    return AnnotatedClip(
        record.key,
        video,
        record.caption,
        tuple(t.label for t in tracks),
        tuple(t.category for t in tracks),
        np.stack(stacked, 1) if tracks else np.zeros((frames, 0, height, width), bool),
        np.array([t.present for t in tracks], bool).reshape(-1, frames).T.copy(),
        np.array([t.boxes_px for t in tracks], np.float32).reshape(-1, frames, 4).transpose(1, 0, 2).copy(),
        tuple(np.concatenate([t.keypoints_px, t.keypoint_confidence[..., None]], -1) for t in tracks),
        record.part_ids if record.part_ids is not None else np.zeros((frames, height, width), np.uint8),
        seen.depth_m if record.scene is not None else None,
        record.scene,
        {name: float(value) for name, value in sorted(record.quality.items())},
        record.source.origin or record.source.key,
        record.source.licence,
        record.source.sha256,
        (record.first_frame, record.end_frame),
        recipe,
        dict(stages),
        record.made_caption,
        {k: t.hands for k, t in enumerate(tracks) if t.hands is not None},
        {k: t.face for k, t in enumerate(tracks) if t.face is not None},
    )
