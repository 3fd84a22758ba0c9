"""Shards: what is written is read again, byte for byte the same each time; shares of readers; what is refused."""

import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from annotated import made_clip
from hypothesis import given
from hypothesis import strategies as st

from kinema.annotate.codec import clip_of, dequantised, members_of, quantised
from kinema.annotate.shards import read_clips, read_members, write_shard
from kinema.errors import InputError
from kinema.types import BodyMotion


def shard(path, *clips):
    write_shard(path, [(c.key, members_of(c)) for c in clips])
    return path


def test_a_clip_comes_back_as_it_was(tmp_path):
    clip = made_clip()
    (back,) = read_clips(shard(tmp_path / "clips-00000.tar", clip))
    for name in ("masks", "present", "boxes_px", "part_ids"):
        np.testing.assert_array_equal(getattr(back, name), getattr(clip, name))
    for name in (
        "key",
        "caption",
        "labels",
        "categories",
        "quality",
        "source",
        "licence",
        "sha256",
        "frames",
        "stages",
    ):
        assert getattr(back, name) == getattr(clip, name)
    assert back.video.fps == 8
    assert back.video.frames.shape == clip.video.frames.shape
    assert np.abs(back.video.frames.astype(int) - clip.video.frames).max() <= 6
    np.testing.assert_allclose(back.depth_m, clip.depth_m, rtol=np.log(20) / 500)
    for ours, theirs in zip(back.keypoints, clip.keypoints, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert back.scene is not None
    motion, true = back.scene.subjects[0].motion, clip.scene.subjects[0].motion
    assert isinstance(motion, BodyMotion)
    np.testing.assert_array_equal(motion.rotvec, true.rotvec)


def test_hands_and_faces_are_kept_where_there_are_any(tmp_path):
    plain = made_clip()
    with np.load(io.BytesIO(members_of(plain)["tracks.npz"])) as tracks:
        assert set(tracks.files) == {"present", "boxes_px", "0.keypoints", "1.keypoints"}
    (back,) = read_clips(shard(tmp_path / "clips-00000.tar", plain))
    assert (back.hands, back.faces) == ({}, {})
    hands = np.random.default_rng(0).uniform(0, 20, (3, 2, 21, 3)).astype(np.float32)
    (back,) = read_clips(shard(tmp_path / "clips-00001.tar", replace(plain, hands={0: hands})))
    assert set(back.hands) == {0}
    np.testing.assert_array_equal(back.hands[0], hands)
    assert back.faces == {}


def test_a_clip_without_subjects_or_3d(tmp_path):
    clip = made_clip()
    bare = replace(
        clip, labels=(), categories=(), masks=clip.masks[:, :0], present=clip.present[:, :0],
        boxes_px=clip.boxes_px[:, :0], keypoints=(), depth_m=None, scene=None,
    )  # fmt: skip
    (back,) = read_clips(shard(tmp_path / "clips-00000.tar", bare))
    assert back.masks.shape == (3, 0, 21, 30)
    assert back.scene is None
    assert back.depth_m is None


def test_equal_clips_give_equal_bytes(tmp_path):
    one, other = (shard(tmp_path / f"{k}.tar", made_clip("a"), made_clip("b", 1)).read_bytes() for k in "xy")
    assert one == other


@given(st.floats(0.1, 5), st.floats(1.01, 300), st.integers(0, 99))
def test_quantised_depth_is_off_by_no_more_than_it_says(near, ratio, seed):
    depth = (near * ratio ** np.random.default_rng(seed).random((2, 3, 4))).astype(np.float32)
    depth[0, 0, 0] = np.inf
    back = dequantised(*quantised(depth))
    assert np.isinf(back[0, 0, 0])
    known = np.isfinite(depth)
    worst = np.abs(np.log(back[known] / depth[known])).max()
    assert worst <= np.log(depth[known].max() / depth[known].min()) / 508 + 1e-4


# The library leaves the shard open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_webdataset_library_reads_them(tmp_path):
    wds = pytest.importorskip("webdataset")
    path = shard(tmp_path / "clips-00000.tar", made_clip("a"), made_clip("b", 1))
    found = list(wds.WebDataset(str(path), shardshuffle=False))
    assert [f["__key__"] for f in found] == ["a", "b"]
    assert json.loads(found[1]["json"])["labels"] == ["a person", "a ball"]


@pytest.mark.parametrize(("shards", "world", "workers"), [(5, 2, 2), (2, 2, 3), (1, 3, 1)])
def test_readers_share_the_clips_and_each_is_read_once(shards, world, workers, tmp_path, monkeypatch):
    monkeypatch.setattr("kinema.annotate.shards.clip_of", lambda members, where: members["txt"].decode())
    for k in range(shards):
        write_shard(tmp_path / f"clips-{k:05d}.tar", [(f"{k}-{n}", {"txt": f"{k}-{n}".encode()}) for n in range(4)])
    shares = [
        list(read_clips(tmp_path, rank=rank, world=world, worker=worker, workers=workers))
        for rank in range(world)
        for worker in range(workers)
    ]
    assert sorted(key for share in shares for key in share) == sorted(
        f"{k}-{n}" for k in range(shards) for n in range(4)
    )
    assert max(map(len, shares)) - min(map(len, shares)) <= 4
    assert all(share == sorted(share) for share in shares)


def test_a_shard_cut_in_half_says_where(tmp_path):
    path = shard(tmp_path / "clips-00000.tar", made_clip("a"), made_clip("b", 1))
    half = tmp_path / "half.tar"
    half.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match=r"half.tar, key 'b': is where the shard is cut off"):
        list(read_clips(half))
    bad = []
    assert [c.key for c in read_clips([half, path], on_bad=bad.append)] == ["a", "a", "b"]
    assert len(bad) == 1


def test_empty_and_missing_shards(tmp_path):
    (tmp_path / "nothing.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"nothing.tar: is empty"):
        list(read_clips(tmp_path / "nothing.tar"))
    write_shard(tmp_path / "bare.tar", [])
    with pytest.raises(InputError, match="is an empty shard"):
        list(read_clips(tmp_path / "bare.tar"))
    (tmp_path / "text.tar").write_text("no tar at all " * 99)
    with pytest.raises(InputError, match="is no tar"):
        list(read_clips(tmp_path / "text.tar"))
    with pytest.raises(InputError, match="does not exist"):
        list(read_clips(tmp_path / "gone.tar"))
    with pytest.raises(InputError, match="holds no shards"):
        list(read_clips(tmp_path))


def test_keys_that_come_twice(tmp_path):
    with pytest.raises(InputError, match="key 'a': is there twice"):
        shard(tmp_path / "x.tar", made_clip("a"), made_clip("a"))
    assert not (tmp_path / "x.tar").exists()
    with tarfile.open(tmp_path / "y.tar", "w") as tar:
        for name in ("a.txt", "b.txt", "a.txt"):
            about = tarfile.TarInfo(name)
            about.size = 1
            tar.addfile(about, io.BytesIO(b"x"))
    with pytest.raises(InputError, match=r"y.tar, key 'a': is there twice"):
        list(read_members(tmp_path / "y.tar"))


def changed(members, **about):
    return members | {"json": json.dumps(json.loads(members["json"]) | about).encode()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: changed(m, schema=2), "schema 2"),
        (lambda m: changed(m, size=[4, 21, 30]), "has 3 frames"),
        (lambda m: changed(m, labels=["a person"]), "masks of 2 subjects"),
        (lambda m: {k: v for k, v in m.items() if k != "maps.npz"}, r"lacks .maps.npz"),
        (lambda m: m | {"mp4": m["mp4"][:50]}, "cannot be decoded"),
        (lambda m: m | {"tracks.npz": m["tracks.npz"][:-40]}, "is damaged"),
        (lambda m: m | {"json": b"{"}, "is damaged"),
    ],
)
def test_damaged_clips_are_named(change, words):
    with pytest.raises(InputError, match=f"s.tar, key 'a': .*{words}"):
        clip_of(change(members_of(made_clip("a"))), "s.tar, key 'a'")
