"""Two people of the procedural world who walk past each other, one hiding the other: who is who before and after."""

from dataclasses import replace

import numpy as np
import pytest

from kinema.camera import fixed_cameras
from kinema.extract.detection import Detection
from kinema.extract.instances import box_of_mask
from kinema.extract.keypoints import Keypoints
from kinema.extract.observation import Observation
from kinema.extract.observe import observe
from kinema.world.actors import human
from kinema.world.clip import WorldClip
from kinema.world.sampler import World, _shoot

FRAMES, LEAST_PX = 16, 40


def crossing(seed: int) -> WorldClip:
    """Two people, 0.8 m behind one another, whose middles exchange their places across the picture."""
    world, rng = World.load(split="test"), np.random.default_rng(seed)
    actors = [human(rng, world.clips, FRAMES) for _ in range(2)]
    share = np.linspace(-1.2, 1.2, FRAMES)
    for k, (actor, sign) in enumerate(zip(actors, (1, -1), strict=True)):
        assert actor.motion is not None
        assert actor.joints_m is not None
        middle = actor.vertices.mean(1) * [1, 0, 1]
        offset = (np.stack([sign * share, 0 * share, 0 * share + 0.4 * sign], 1) - middle).astype(np.float32)
        root = actor.motion.root_translation_m + offset
        actors[k] = replace(
            actor,
            vertices=actor.vertices + offset[:, None],
            motion=replace(actor.motion, root_translation_m=root),
            joints_m=actor.joints_m + offset[:, None],
        )
    cameras = fixed_cameras(np.concatenate([a.vertices[:, ::50] for a in actors], 1), (128, 128), 0.0, np.radians(8))
    return _shoot(rng, actors, cameras, *world._backdrop(0, 256))


class Truth:
    """Sees every person's true mask, in another order in every frame, unless hardly anything of it shows."""

    def __init__(self, clip: WorldClip):
        self.clip, rng = clip, np.random.default_rng(0)
        ways = [[ids == k for k in rng.permutation([1, 2])] for ids in clip.subject_ids]
        self.masks = [[m for m in now if m.sum() >= LEAST_PX] for now in ways]

    def detect(self, frames):
        return [[Detection("human", "a person", box_of_mask(m), 1.0) for m in now] for now in self.masks]

    def segment(self, frames, detections):
        return [np.array(now).reshape(-1, *frames.shape[1:3]).astype(bool) for now in self.masks]

    def keypoints(self, frames, detections, masks):
        nowhere = Keypoints(np.zeros((22, 2), np.float32), np.zeros(22, np.float32))
        return [[nowhere] * len(found) for found in detections]

    def parts(self, frames):
        return self.clip.part_ids

    def depth(self, frames):
        return self.clip.depth_m


def names(seen: Observation, clip: WorldClip) -> list[list[int]]:
    """For each track the number of the subject that most of its mask is, frame by frame; frames without it are left out."""
    return [
        [
            int(np.bincount(ids[mask], minlength=3)[1:].argmax())
            for ids, mask in zip(clip.subject_ids, track.masks, strict=True)
            if mask.any()
        ]
        for track in seen.tracks
    ]


@pytest.mark.parametrize("seed", [0, 2])
def test_people_who_cross_keep_their_names(seed):
    clip = crossing(seed)
    shown = np.array([(clip.subject_ids == k).sum((1, 2)) for k in (1, 2)])
    assert shown.min() < 0.5 * np.median(shown)  # one does hide the other
    told = names(observe(clip.video, Truth(clip)), clip)
    assert sorted(map(set, told), key=min) == [{0}, {1}]
