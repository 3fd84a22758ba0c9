"""What may be given, and what is refused or skipped: every source counted, none silently dropped."""

import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from kinema.annotate.fetching import local_file
from kinema.annotate.inputs import find_sources
from kinema.annotate.recipes import MVideo, cut_stage
from kinema.annotate.record import Record
from kinema.errors import InputError
from kinema.video import read_video, write_video


def video(path, shade=80, fps=8.0):
    write_video([np.full((16, 16, 3), shade, np.uint8)] * 4, path, fps)
    return path


def with_caption(folder, name, shade, caption="a man runs"):
    video(folder / f"{name}.mp4", shade)
    (folder / f"{name}.txt").write_text(caption)


def tar_of(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "v" / "sub").mkdir(parents=True)
    with_caption(tmp_path / "v", "one", 40)
    with_caption(tmp_path / "v" / "sub", "two.part", 90, "a dog swims")
    (tmp_path / "v" / "one.json").write_text(json.dumps({"licence": "CC0-1.0", "source": "made up", "fps": 8}))
    return tmp_path / "v"


def test_a_folder(folder):
    found = find_sources(folder)
    assert [s.key for s in found.sources] == ["one", "sub_two_part"]
    assert [s.caption for s in found.sources] == ["a man runs", "a dog swims"]
    assert (found.sources[0].licence, found.sources[0].origin) == ("CC0-1.0", "made up")
    assert len({s.sha256 for s in found.sources}) == 2
    assert not found.skipped


def test_lists(folder):
    listed = folder.parent / "list.jsonl"
    rows = [
        {"video": "v/one.mp4", "caption": "told here"},
        {"video": "https://example.org/a/clip.webm?x=1", "caption": "c"},
    ]
    listed.write_text("\n".join(map(json.dumps, rows)))
    one, url = find_sources(listed).sources
    assert one.caption == "told here"
    assert url.location == "https://example.org/a/clip.webm?x=1"
    assert url.suffix == ".webm"
    plain = folder.parent / "list.txt"
    plain.write_text("# videos\nv/one.mp4\n\nv/sub/two.part.mp4\n")
    assert [s.caption for s in find_sources(plain).sources] == ["a man runs", "a dog swims"]
    plain.write_text("v/gone.mp4\n")
    with pytest.raises(InputError, match=r"list.txt, line 1: names v/gone.mp4, which does not exist"):
        find_sources(plain)


def test_shards_and_the_video_in_them(folder, tmp_path):
    data = (folder / "one.mp4").read_bytes()
    shard = tar_of(
        tmp_path / "in.tar", [("a.mp4", data), ("a.txt", b"a man jumps"), ("b.mp4", data + b"\0"), ("b.txt", b"x")]
    )
    a, b = find_sources(shard).sources
    assert (a.key, a.caption, b.key) == ("a", "a man jumps", "b")
    with local_file(a) as path:
        assert len(read_video(path).frames) == 4
        kept = path
    assert not kept.exists()


def test_videos_beside_shards_are_not_forgotten(folder):
    tar_of(folder / "in.tar", [("a.mp4", (folder / "one.mp4").read_bytes() + b"\0"), ("a.txt", b"a man jumps")])
    assert [s.key for s in find_sources(folder).sources] == ["a", "one", "sub_two_part"]


def test_the_frame_rate_that_is_said_of_a_url_is_compared_once_it_is_here(tmp_path):
    listed = tmp_path / "list.jsonl"
    listed.write_text('{"video": "https://example.org/a.mp4", "caption": "a man runs", "fps": 30}')
    (url,) = find_sources(listed).sources
    record = Record(url, url.key, str(video(tmp_path / "a.mp4", fps=8.0)))
    with pytest.raises(InputError, match=r"a.mp4: says that it has 30 frames a second"):
        cut_stage(MVideo()).run(record)
    assert cut_stage(MVideo()).run(replace(record, source=replace(url, stated_fps=8.0))).shots == ((0, 4),)


def test_the_same_video_twice_is_annotated_once(folder):
    (folder / "copy.mp4").write_bytes((folder / "one.mp4").read_bytes())
    (folder / "copy.txt").write_text("a man runs")
    found = find_sources(folder)
    assert len(found.sources) == 2
    assert found.skipped[0][1] == "is the same video as copy"


def bad_folder(tmp_path, kind):
    folder = tmp_path / "v"
    folder.mkdir()
    with_caption(folder, "good", 70)
    data = (folder / "good.mp4").read_bytes()
    if kind == "no caption":
        video(folder / "mute.mp4", 10)
    elif kind == "wrong fps":
        with_caption(folder, "fast", 20)
        (folder / "fast.json").write_text('{"fps": 30}')
    elif kind == "impossible fps":
        with_caption(folder, "fast", 20)
        (folder / "fast.json").write_text('{"fps": -1}')
    elif kind == "key twice":
        with_caption(folder, "good_", 20)
    elif kind == "no json":
        (folder / "good.json").write_text("{")
        with_caption(folder, "fine", 99)
    else:
        (folder / "good.mp4").unlink()
        good = [("good.mp4", data), ("good.txt", b"a man runs")]
        if kind == "cut shard":
            whole = tar_of(folder / "x.tar", [*good, ("late.mp4", data)]).read_bytes()
            (folder / "x.tar").write_bytes(whole[: len(whole) // 2 - 1000])
        else:
            tar_of(folder / "x.tar", good)
            if kind == "empty shard":
                tar_of(folder / "y.tar", [])
            elif kind == "key in two shards":
                tar_of(folder / "y.tar", [("good.mp4", data + b"\0"), ("good.txt", b"a man runs")])
            elif kind == "no video":
                tar_of(folder / "y.tar", [("text.txt", b"only words")])
            else:
                tar_of(folder / "y.tar", [("old.mp4", data), ("old.json", b'{"schema": 2, "stages": {}}')])
    return folder


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no caption", "mute.mp4: has no caption"),
        ("wrong fps", r"fast.mp4: says that it has 30 frames a second"),
        ("impossible fps", r"fast.mp4: says that it has -1 frames a second"),
        ("key twice", r"good_.mp4: has the key 'good', as good.mp4 has"),
        ("no json", r"good.json: is no JSON"),
        ("cut shard", r"x.tar, key 'late': is where the shard is cut off"),
        ("empty shard", r"y.tar: is an empty shard"),
        ("key in two shards", r"y.tar, key 'good': has the key 'good', as x.tar/good has"),
        ("no video", r"y.tar, key 'text': has no video"),
        ("another schema", r"y.tar, key 'old': is annotated already \(schema 2\)"),
    ],
)
def test_bad_input_stops_the_run_or_is_skipped_and_counted(kind, words, tmp_path):
    folder = bad_folder(tmp_path, kind)
    with pytest.raises(InputError, match=words):
        find_sources(folder)
    found = find_sources(folder, bad="skip")
    assert len(found.sources) == 1
    assert len(found.skipped) == 1


def test_nothing_at_all(tmp_path):
    with pytest.raises(InputError, match="holds no videos"):
        find_sources(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_sources(tmp_path / "gone")
