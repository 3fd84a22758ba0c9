"""Training mini-perception: data, targets, loss, scores and a short overfit, on made-up clips."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kinema.body.skeleton import BODY_JOINTS, PART_IDS
from kinema.errors import InputError
from kinema.extract.detection import Detection
from kinema.extract.instances import box_of_mask
from kinema.extract.keypoints import Keypoints
from kinema.extract.mini_perception import load_perception, save_perception
from kinema.extract.perception_net import (
    CATEGORIES,
    CLASS_OF_PART,
    COARSE,
    JOINT_SLICES,
    OFFSET_PX,
    PART_OF_CLASS,
    PerceptionConfig,
    PerceptionNet,
)
from kinema.train.batches import drawn_ahead
from kinema.train.loop import LoopConfig, rng_for
from kinema.train.perception import (
    PerceptionTrainConfig,
    draw,
    draw_step,
    parts_overlap,
    perception_loss,
    step_loss,
    train_perception,
)
from kinema.train.perception_data import (
    Change,
    ClipPool,
    Frame,
    InTurn,
    change_place,
    frames_of_clip,
    left_in_camera,
    make_batch,
    spoil_looks,
)
from kinema.train.perception_score import score_perception
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene, Subject, Video
from kinema.world.clip import WorldClip
from kinema.world.sampler import World

SIDE, FRAMES = 64, 8
SMALL = PerceptionConfig((8, 16, 16, 24), out_width=8, attention_layers=1, attention_heads=2, deeper=(0, 0))
LIMBS = {
    "chest": (26, 36),
    "left_forearm": (36, 42),
    "right_forearm": (20, 26),
}
"""Part -> columns, of a person of three upright stripes in rows 20-40; its left is at the right of the picture."""


class FakeWorld:
    """Clips of a striped person at different heights and a ball beside it."""

    def sample(self, seed: int, frames: int = FRAMES, size: tuple[int, int] = (SIDE, SIDE)) -> WorldClip:
        rng = np.random.default_rng(seed)
        shift, frames = int(rng.integers(-8, 9)), frames
        parts = np.zeros((frames, SIDE, SIDE), np.uint8)
        ids, depth = parts.copy(), np.full(parts.shape, np.inf, np.float32)
        picture = np.full((*parts.shape, 3), 90, np.uint8)
        joints = np.full((frames, 22, 2), (31, 30 + shift), np.float32)
        for k, (name, (left, right)) in enumerate(LIMBS.items()):
            at = (slice(None), slice(20 + shift, 40 + shift), slice(left, right))
            parts[at], ids[at], depth[at] = PART_IDS[name], 1, 4
            picture[at] = np.eye(3)[k] * 200
            wrist = f"{name.split('_')[0]}_wrist"
            if wrist in BODY_JOINTS:
                joints[:, BODY_JOINTS.index(wrist)] = ((left + right) / 2, 36 + shift)
        at = (slice(None), slice(50, 58), slice(6, 14))
        parts[at], ids[at], depth[at], picture[at] = PART_IDS["object"], 2, 2, (250, 240, 20)
        zeros = np.zeros
        body = BodyMotion("human", zeros((frames, 55, 3)), zeros((frames, 3)), zeros(10), 8.0)
        ball = ObjectMotion(zeros((frames, 21, 3), np.float32), 8.0, np.ones(frames, bool))
        eye = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
        cameras = Cameras(eye[:, :3, :3], eye, (SIDE, SIDE))
        scene = Scene((Subject(0, "a person", "", body), Subject(1, "a ball", "", ball)), cameras, "")
        visible = np.ones((frames, 22), bool)
        joints_m = np.zeros((frames, 22, 3), np.float32)
        joints_m[:, [k for k, name in enumerate(BODY_JOINTS) if name.startswith("left")], 0] = 0.2
        return WorldClip(
            Video(picture, 8.0), scene, parts, ids, depth, (joints_m, None), (joints, None), (visible, None)
        )


def change(frame: Frame, rng: np.random.Generator, side: int = SIDE) -> Frame:
    return change_place(frame, Change.draw(frame, side, rng))


def fake_frames(clips: int = 2) -> list[Frame]:
    return [f for seed in range(clips) for f in frames_of_clip(FakeWorld().sample(seed))]


def pool() -> ClipPool:
    return ClipPool(FakeWorld(), size=4, new=1, frames=FRAMES)


def test_frames_hold_the_joints_of_their_category_only():
    frame = fake_frames()[0]
    assert frame.categories.tolist() == [CATEGORIES.index("human"), CATEGORIES.index("object")]
    assert frame.joints_visible[0].sum() == 22
    assert not frame.joints_visible[1].any()
    assert not frame.joints_visible[0, JOINT_SLICES["animal"]].any()
    assert set(PART_OF_CLASS[frame.classes].ravel()) == {0, 64, *(PART_IDS[n] for n in LIMBS)}


def test_moved_and_mirrored_pictures_keep_joints_on_their_limbs():
    rng, mirrored = rng_for(0, 0), 0
    frame = fake_frames()[0]
    red, blue = CLASS_OF_PART[PART_IDS["left_forearm"]], CLASS_OF_PART[PART_IDS["right_forearm"]]
    for _ in range(20):
        moved = change(frame, rng)
        for side, cls in (("left", red), ("right", blue)):
            joint = BODY_JOINTS.index(f"{side}_wrist")
            if moved.joints_visible[0, joint]:
                x, y = moved.joints_px[0, joint].astype(int)
                assert moved.classes[y, x] == cls
                assert moved.subject_ids[y, x] == 1
        rows, columns = np.nonzero(moved.classes == red)
        if len(rows):
            # The person's left stripe is green; in a mirror image what was its right one is.
            mirrored += int(moved.picture[rows, columns].astype(int).mean(0).argmax() == 2)
    assert 4 <= mirrored <= 16


def test_a_zoomed_subject_is_nearer():
    frame = fake_frames()[0]
    for step in range(5):
        moved = change(frame, rng_for(1, step))
        ball = moved.subject_ids == 2
        if ball.sum() > 20 and not (ball[0].any() or ball[-1].any() or ball[:, 0].any() or ball[:, -1].any()):
            assert np.sqrt(64 / ball.sum()) * 2 == pytest.approx(moved.depth_m[ball].mean(), rel=0.1)


def test_where_left_is_follows_the_camera_and_the_mirror():
    joints_m = np.zeros((2, 22, 3), np.float32)
    joints_m[:, [BODY_JOINTS.index("left_hip"), BODY_JOINTS.index("left_shoulder")]] = (0.3, 0, 0.3)
    turned = np.tile(np.eye(4), (2, 1, 1))
    turned[1, :3, :3] = [[0, 0, -1], [0, 1, 0], [1, 0, 0]]
    assert left_in_camera(joints_m, "human", turned) == pytest.approx(np.sqrt(0.5) * np.array([[1, 1], [-1, 1]]))
    frame = replace(fake_frames()[0], facing=np.array([[0.6, 0.8], [np.nan, np.nan]], np.float32))
    seen = {tuple(change(frame, rng_for(0, s)).facing[0].astype(float).round(3)) for s in range(8)}
    assert seen == {(0.6, 0.8), (0.6, -0.8)}


def test_spoilt_looks_are_pictures_and_repeat():
    picture = fake_frames()[0].picture
    one, two = (spoil_looks(picture, rng_for(0, 3)) for _ in range(2))
    assert one.shape == picture.shape
    assert (one == two).all()
    assert any((spoil_looks(picture, rng_for(0, s)) != one).any() for s in range(3))


def test_targets_point_to_the_middle_and_peak_at_the_joints():
    frame = fake_frames()[0]
    batch = make_batch([frame])
    ball = frame.subject_ids == 2
    rows, columns = np.nonzero(ball[::COARSE, ::COARSE])
    cells = np.stack([columns, rows], 1) + 0.5
    aim = cells * COARSE + batch.offsets[0, :, rows, columns].T.numpy() * OFFSET_PX
    assert aim == pytest.approx(np.tile([10.0, 54.0], (len(aim), 1)), abs=1e-4)
    middle = batch.centres[0, CATEGORIES.index("object")].argmax().item()
    assert divmod(middle, SIDE // COARSE) == (54 // COARSE, 10 // COARSE)
    wrist = BODY_JOINTS.index("left_wrist")
    peak = np.unravel_index(batch.joints[0, wrist].argmax().item(), (SIDE // COARSE, SIDE // COARSE))
    assert peak == tuple((frame.joints_px[0, wrist][::-1] // COARSE).astype(int))
    assert not batch.joints[0, JOINT_SLICES["animal"]].any()
    assert batch.log_depth[0][batch.offsets[0, 0].isfinite()].exp().unique().tolist() == pytest.approx([2, 4])
    assert batch.peaks.tolist() == [2, 22]
    turned = batch.facing[0, :, batch.facing[0, 0].isfinite()]
    assert turned.shape[1] == 4
    assert turned.mT.tolist() == [[1, 0]] * turned.shape[1]


def test_a_batch_depends_on_its_step_alone():
    going, fresh = pool(), pool()
    for step in range(2):
        draw(going, 8, (32, 64), step, 0)
    seen, frames = draw(going, 8, (32, 64), 2, 0)
    again, count = draw(fresh, 8, (32, 64), 2, 0)
    assert frames == count
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(seen, again, strict=True))
    assert set(going.made) == {2, 3, 4, 5}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
def test_processes_that_draw_in_turn_draw_what_one_would():
    config = PerceptionTrainConfig(run=Path(), batch=8, sides=(32,), workers=2)

    def source() -> ClipPool:
        return ClipPool(FakeWorld(), size=4, new=1, frames=FRAMES, lanes=config.workers)

    alone = [draw_step(source(), config, step) for step in range(3)]
    found = list(drawn_ahead(partial(draw_step, source(), config), range(3), 0, config.workers))
    assert [number for number, _ in found] == [0, 1, 2]
    for (batch, frames, _), (_, (other, count, _)) in zip(alone, found, strict=True):
        assert frames == count
        assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(batch, other, strict=True))
    assert not torch.equal(alone[0][0].pictures, alone[1][0].pictures)


def test_a_grown_network_says_what_the_smaller_one_said_and_can_learn_more():
    torch.manual_seed(0)
    small, pictures = PerceptionNet(SMALL), torch.rand(4, 3, SIDE, SIDE)
    for _ in range(2):
        small(pictures)  # batch norm sees something
    grown = PerceptionNet(replace(SMALL, deeper=(1, 2), attention_layers=2))
    grown.grow_from(small)
    told, said = grown.eval()(pictures, 2), small.eval()(pictures, 2)
    assert all(torch.equal(a, b) for a, b in zip(told, said, strict=True))
    grown.train()(pictures, 2).parts.square().sum().backward()
    assert grown.refine[0].body[1][1].weight.grad.abs().sum() > 0
    with pytest.raises(RuntimeError, match="size mismatch"):
        grown.grow_from(PerceptionNet(replace(SMALL, out_width=16)))


def test_worlds_in_turn():
    one, two = FakeWorld(), FakeWorld()
    two.sample = lambda seed, frames=FRAMES: FakeWorld().sample(seed + 100, frames)
    both = InTurn((one, two))
    for seed, source in ((6, 6), (7, 107)):
        assert np.array_equal(both.sample(seed, FRAMES).part_ids, FakeWorld().sample(source).part_ids)
    assert not np.array_equal(one.sample(7).part_ids, two.sample(7).part_ids)


def test_what_is_kept_of_a_frame_shows_a_subject():
    frame = fake_frames()[0]
    for step in range(10):
        kept = change(frame, rng_for(2, step), side=32)
        assert kept.picture.shape == (32, 32, 3)
        assert kept.classes.shape == kept.depth_m.shape == (32, 32)
        assert kept.subject_ids.any()
        at = kept.joints_px[kept.joints_visible]
        assert ((at >= 0) & (at < 32)).all()


def test_frames_of_a_video_are_moved_alike_and_follow_one_another():
    rng = rng_for(0, 0)
    for run in pool().draw(0, 2, 2, rng):
        assert len(run) == 2
        moved = [change_place(frame, Change.draw(run[0], SIDE, rng_for(3, 0))) for frame in run]
        assert (moved[0].classes == moved[1].classes).all()
    taken = {len(run) for run in pool().draw(0, 3, FRAMES, rng)}
    assert taken == {FRAMES}


def test_the_loss_is_finite_without_any_subject():
    frame = fake_frames()[0]
    empty = replace(frame, classes=0 * frame.classes, subject_ids=0 * frame.subject_ids, categories=np.zeros(0, int))
    empty = replace(
        empty, joints_px=frame.joints_px[:0], joints_visible=frame.joints_visible[:0], facing=frame.facing[:0]
    )
    batch = make_batch([replace(empty, depth_m=np.full_like(frame.depth_m, np.inf))])
    terms = perception_loss(PerceptionNet(SMALL)(batch.pictures), batch, rng_for(0, 0))
    assert torch.stack(list(terms.values())).isfinite().all()
    assert terms["offsets"] == terms["depth"] == 0


def test_the_overlap_of_parts_is_that_of_the_metric():
    """Two videos of 20 pixels of three classes; the first pixel of each stands for 4, the others for 2."""
    rng = rng_for(0, 0)
    truth, said = (torch.from_numpy(rng.integers(0, 3, 40)) for _ in range(2))
    video, pixels = torch.arange(2).repeat_interleave(20), torch.tensor([4.0] + 19 * [2.0]).repeat(2)
    expected = []
    for clip in range(2):
        for part in (1, 2):
            true, found = (truth == part) & (video == clip), (said == part) & (video == clip)
            assert true.any()
            expected.append(pixels[true & found].sum() / pixels[true | found].sum())
    found = parts_overlap(F.one_hot(said, 3).float(), truth, pixels, video)
    assert found.item() == pytest.approx(np.mean(expected), abs=1e-6)
    assert parts_overlap(F.one_hot(truth, 3).float(), truth, pixels, video) == 1
    assert parts_overlap(F.one_hot(said, 3).float(), 0 * truth, pixels, video) == 1  # no part is shown: none is missed


def test_a_short_training_learns_the_parts():
    torch.manual_seed(0)
    net, config = PerceptionNet(SMALL), PerceptionTrainConfig(run=Path(), batch=8, sides=(SIDE,))
    optimizer, source, losses = torch.optim.AdamW(net.parameters(), lr=5e-3), pool(), []
    for step in range(30):
        loss = step_loss(net, source, config, step, torch.float32)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


class TruePerception:
    """Says of the frames what is true of them; `twist` changes the parts."""

    def __init__(self, frames: list[Frame], twist=lambda part_ids: part_ids):
        self.frames, self.twist = frames, twist

    def detect(self, frames):
        return [
            [
                Detection(CATEGORIES[c], "it", box_of_mask(f.subject_ids == k + 1), 1.0)
                for k, c in enumerate(f.categories)
            ]
            for f in self.frames
        ]

    def segment(self, frames, detections):
        return [np.stack([f.subject_ids == k + 1 for k in range(len(f.categories))]) for f in self.frames]

    def keypoints(self, frames, detections, masks):
        return [
            [
                Keypoints(xy := points[JOINT_SLICES.get(d.category, slice(0))], np.ones(len(xy), np.float32))
                for d, points in zip(found, f.joints_px, strict=True)
            ]
            for f, found in zip(self.frames, detections, strict=True)
        ]

    def parts(self, frames):
        return self.twist(np.stack([PART_OF_CLASS[f.classes] for f in self.frames]))

    def depth(self, frames):
        return np.stack([f.depth_m * 1.1 for f in self.frames]).astype(np.float32)


def test_the_truth_scores_full_marks_and_changed_sides_none():
    frames = fake_frames()
    score = score_perception(TruePerception(frames), [frames])
    assert score["part_miou"] == score["instance_iou"] == score["found"] == score["pck_human"] == 1
    assert score["false_alarms"] == 0
    assert score["left_right"] == 1
    assert score["depth_error"] == pytest.approx(0.1, abs=1e-5)

    def exchange(part_ids):
        left, right = PART_IDS["left_forearm"], PART_IDS["right_forearm"]
        other = np.arange(256, dtype=np.uint8)
        other[[left, right]] = right, left
        return other[part_ids]

    twisted = score_perception(TruePerception(frames, exchange), [frames])
    assert twisted["left_right"] == 0
    assert twisted["part_miou"] == pytest.approx(0.5)


def test_a_start_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(World, "load", staticmethod(lambda *_, **__: FakeWorld()))
    save_perception(PerceptionNet(SMALL), start := tmp_path / "start.safetensors", {})
    loop, wider = LoopConfig(steps=1), replace(SMALL, out_width=16)
    config = PerceptionTrainConfig(tmp_path / "run", start=start, validation_clips=1, model=wider, loop=loop)
    with pytest.raises(InputError, match="other sizes"):
        train_perception(config)
    with pytest.raises(InputError, match="workers"):
        next(drawn_ahead(int, range(1), 0, -1))


def test_training_writes_weights_that_load_and_finishes_only_once(tmp_path, monkeypatch):
    monkeypatch.setattr(World, "load", staticmethod(lambda *_, **__: FakeWorld()))
    loop = LoopConfig(steps=2, checkpoint_every=1)
    config = PerceptionTrainConfig(
        tmp_path / "run", batch=8, pool=2, new_clips=1, validation_clips=1, model=SMALL, loop=loop, device="cpu",
        made_share=0.5,
    )  # fmt: skip
    out = train_perception(config)
    net = load_perception(out)
    assert net.config == SMALL
    again = load_perception(train_perception(config)).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in net.state_dict().items())
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert {"part_miou", "made_part_miou"} <= set(json.loads(lines[-1]))
