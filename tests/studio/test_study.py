"""Blind votes: every pair once a voter, sides and order that tell nothing, votes that outlive a stop, honest intervals."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlparse

import numpy as np
import pytest

from commands import refused, status
from kinema.errors import InputError
from kinema.studio.votes import (
    QUESTIONS,
    is_voter,
    make_pairs,
    new_voter,
    next_question,
    preferences,
    take_back,
    vote,
    wilson,
)
from kinema.video import write_video


@pytest.fixture
def folders(tmp_path):
    made = []
    for level, method in enumerate(("ours", "baseline")):
        made.append(tmp_path / method)
        made[-1].mkdir()
        for clip in range(4):
            frames = np.full((2, 32, 32, 3), 40 * clip + 20 * level, np.uint8)
            write_video(frames, made[-1] / f"clip{clip}.mp4", 8.0)
    (made[0] / "alone.mp4").write_bytes((made[0] / "clip0.mp4").read_bytes())
    return made


def answer_all(out, pairs, token, choose):
    """Vote until the end; -> what was asked."""
    asked = []
    while (one := next_question(out, pairs, token)) is not None:
        asked.append(one)
        vote(out, token, one, choose(one))
    return asked


def test_a_voter_is_asked_everything_once_and_goes_on_after_a_stop(tmp_path, folders):
    out = tmp_path / "out"
    pairs = make_pairs(folders, out)
    assert [pair.name for pair in pairs] == [f"clip{k}.mp4" for k in range(4)]
    token = new_voter(out)
    first = next_question(out, pairs, token)
    vote(out, token, first, "a")
    pairs = make_pairs(folders, out)  # the server is started anew
    second = next_question(out, pairs, token)
    assert (second.pair.id, second.left) == (first.pair.id, first.left)
    assert second.question == QUESTIONS[1]
    take_back(out, token)
    assert next_question(out, pairs, token).question == QUESTIONS[0]
    asked = answer_all(out, pairs, token, lambda one: "a")
    assert len(asked) == len({(one.pair.id, one.question.name) for one in asked}) == 16
    assert asked[-1].number == asked[-1].pairs == 4
    vote(out, token, asked[0], "b")
    assert all(row.share_a == 1 for row in preferences(out)), "a second answer changes nothing"


def test_nothing_tells_which_method_a_video_is_by(tmp_path, folders):
    out = tmp_path / "out"
    pairs = make_pairs(folders, out)
    for pair in pairs:
        for file in (pair.file_a, pair.file_b):
            assert re.fullmatch(r"[0-9a-f]{24}\.mp4", file.name)
    lefts, firsts = [], set()
    for _ in range(40):
        token = new_voter(out)
        one = next_question(out, pairs, token)
        firsts.add(one.pair.name)
        lefts.append(one.left)
        assert one.choice("1") == one.left
        assert {one.choice("1"), one.choice("2")} == {"a", "b"}
        assert one.files[0] == (one.pair.file_a if one.left == "a" else one.pair.file_b)
    assert 8 <= lefts.count("a") <= 32
    assert len(firsts) == 4


def test_pairs_that_few_have_seen_come_first(tmp_path, folders):
    out = tmp_path / "out"
    pairs = make_pairs(folders, out)
    seen = []
    for _ in range(4):
        token = new_voter(out)
        one = next_question(out, pairs, token)
        vote(out, token, one, "b")
        seen.append(one.pair.id)
    assert len(set(seen)) == 4


def test_results_are_the_votes_and_neither_is_not_counted(tmp_path, folders, capsys):
    out = tmp_path / "out"
    pairs = make_pairs(folders, out)
    for voter in range(3):
        answer_all(
            out, pairs, new_voter(out),
            lambda one, voter=voter: "none" if one.question.none and voter == 0 else "a" if voter < 2 else "b",
        )  # fmt: skip
    rows = {row.question: row for row in preferences(out)}
    assert list(rows) == [question.name for question in QUESTIONS]
    assert (rows["realism"].votes, rows["realism"].none, rows["realism"].voters) == (12, 0, 3)
    assert rows["realism"].share_a == pytest.approx(2 / 3)
    assert (rows["occlusion"].votes, rows["occlusion"].none, rows["occlusion"].share_a) == (8, 4, 0.5)
    assert rows["realism"].low < 2 / 3 < rows["realism"].high
    assert status("study", "--results", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["method_a"] == "ours"
    assert status("study", "--results", out) == 0
    assert "66.7%" in capsys.readouterr().out
    token = new_voter(out)
    asked = next_question(out, pairs, token)
    with pytest.raises(InputError, match="is no answer"):
        vote(out, token, asked, "none")


def test_wilson_is_the_textbooks_and_grows_with_alike_votes():
    votes = np.array([True] * 8 + [False] * 2)
    assert wilson(votes) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(np.zeros(0, bool)) == (0.0, 1.0)
    assert wilson(np.ones(5, bool)) == pytest.approx((0.5655, 1.0), abs=1e-4)
    alike = np.repeat(np.random.default_rng(0).random(12) < 0.6, 20)
    low, high = wilson(alike, np.repeat(np.arange(12), 20))
    alone = wilson(alike[::20])
    assert high - low == pytest.approx(alone[1] - alone[0], rel=0.1), "20 times the same vote is one vote"


def test_votes_at_once_are_all_kept(tmp_path, folders):
    out = tmp_path / "out"
    pairs = make_pairs(folders, out)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: answer_all(out, pairs, new_voter(out), lambda one: "a"), range(6)))
    assert sum(row.votes for row in preferences(out)) == 6 * 16
    with sqlite3.connect(out / "votes.sqlite") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_mistakes_are_told(tmp_path, folders, capsys):
    out = tmp_path / "out"
    make_pairs(folders, out)
    assert not is_voter(out, "'; DROP TABLE vote; --")
    assert "at least two" in refused(capsys, "study", folders[0], "--out", out)
    assert "holds no videos" in refused(capsys, "study", folders[0], tmp_path / "none", "--out", out)
    assert "--out: is missing" in refused(capsys, "study", *folders)
    assert "holds no study" in refused(capsys, "study", "--results", tmp_path)
    assert "there is no password" in refused(capsys, "study", *folders, "--out", out, "--host", "0.0.0.0")
    write_video(np.zeros((2, 32, 32, 3), np.uint8), folders[1] / "clip2.mp4", 8.0)
    assert "another video than in the study so far" in refused(capsys, "study", *folders, "--out", out)


@pytest.mark.filterwarnings("ignore")  # Gradio's own, of pandas
def test_in_a_browser_by_keys_after_a_reload_and_without_other_servers(tmp_path, folders):
    """The whole of a voter's visit, in Chromium."""
    pytest.importorskip("gradio")
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    from kinema.studio.app import Settings
    from kinema.studio.study import serve_study

    out = tmp_path / "out"
    page = serve_study(Settings(out, port=free_port()), make_pairs(folders, out), wait=False)
    try:
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            tab = browser.new_page()
            asked_for: list[str] = []
            tab.on("request", lambda request: asked_for.append(request.url))
            tab.goto(page.local_url)
            tab.click("#study-begin")
            expect = sync_api.expect
            question = tab.locator("#study-question")
            for key, title in (("1", "Motion consistency"), ("0", "Amount of motion"), ("2", "Amount of motion")):
                expect(question).to_contain_text(title, timeout=20_000)
                tab.keyboard.press(key)
            expect(question).to_contain_text("Motion realism", timeout=20_000)
            tab.reload()
            expect(question).to_contain_text("Motion realism", timeout=20_000)
            tab.keyboard.press("1")
            expect(tab.locator("#vote-0")).to_be_visible(timeout=20_000)
            tab.keyboard.press("0")
            expect(tab.locator("#study-where")).to_contain_text("Pair 2 of 4", timeout=20_000)
            axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
            found = axe.run(tab).response["violations"]
            assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []
            assert "baseline" not in tab.content()
            assert not any("ours" in url or "clip" in url for url in asked_for)
            assert {urlparse(url).hostname for url in asked_for if url.startswith("http")} == {
                urlparse(page.local_url).hostname
            }
            browser.close()
    finally:
        page.close()
    assert [row.votes for row in preferences(out)] == [1, 1, 1, 0]
    assert preferences(out)[3].none == 1


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
