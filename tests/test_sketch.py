"""Sketches: the file's forms, drags, and what is refused with what words."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.body.skeleton import PART_IDS
from kinema.errors import InputError
from kinema.sketch import Sketch, SketchedPart, check_parts, load_sketch, parse_drag, sketch_from_drags

ROOT = Path(__file__).parents[1]
HW = (100, 200)
HEAD, HAND = PART_IDS["head"], PART_IDS["right_hand"]


@pytest.fixture
def load(tmp_path):
    def read(content, hw=HW):
        path = tmp_path / "sketch.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return load_sketch(path, hw)

    return read


def one(**shape):
    return {"shapes": [{"part": "right_hand", **shape}]}


@pytest.fixture
def picture():
    """Two people of two parts: heads above hands, at x 50 and x 150; each is 24 x 16 pixels."""
    part_ids, subject_ids = np.zeros(HW, np.uint8), np.zeros(HW, np.uint8)
    for subject, x in ((1, 50), (2, 150)):
        for part, y in ((HEAD, 20), (HAND, 60)):
            part_ids[y - 8 : y + 8, x - 12 : x + 12] = part
            subject_ids[y - 8 : y + 8, x - 12 : x + 12] = subject
    return part_ids, subject_ids


def test_the_three_forms(load):
    sketch = load(
        {"shapes": [
            {"part": "right_hand", "ellipse": [60, 40, 20, 5, 90]},
            {"part": "Left Hand", "circle": [90, 30, 8], "subject": 1},
            {"part": "head", "polygon": [[10, 10], [30, 10], [30, 30], [10, 30]]},
        ]}
    )  # fmt: skip
    hand, left, head = sketch.shapes
    assert [s.part for s in sketch.shapes] == ["right_hand", "left_hand", "head"]
    assert [s.subject for s in sketch.shapes] == [None, 1, None]
    np.testing.assert_allclose(hand.centre_px, [60, 40], atol=1e-9)
    np.testing.assert_allclose(np.ptp(hand.polygon_px, 0), [10, 40], atol=0.5)  # turned by 90 degrees
    assert left.area_px == pytest.approx(np.pi * 64, rel=0.02)
    np.testing.assert_allclose(head.centre_px, [20, 20])
    assert sketch.image_hw == HW


def test_an_angle_turns_from_x_towards_y_as_in_the_picture(load):
    (shape,) = load(one(ellipse=[60, 40, 20, 2, 30])).shapes
    tip = shape.polygon_px[np.linalg.norm(shape.polygon_px - [60, 40], axis=1).argmax()] - [60, 40]
    assert np.degrees(np.arctan(tip[1] / tip[0])) == pytest.approx(30)


def test_a_sketch_on_a_smaller_copy_is_scaled(load):
    (shape,) = load({"image_size": [100, 50], **one(circle=[20, 10, 5])}).shapes
    np.testing.assert_allclose(shape.centre_px, [40, 20])
    assert shape.area_px == pytest.approx(np.pi * 100, rel=0.02)


def test_what_reaches_over_the_edge_is_cut_off_with_a_warning(load, caplog):
    (shape,) = load(one(polygon=[[-20, 10], [20, 10], [20, 30], [-20, 30]])).shapes
    assert "cut off" in caplog.text
    np.testing.assert_allclose(shape.centre_px, [10, 20])
    assert shape.area_px == pytest.approx(400)


@given(st.lists(st.tuples(st.floats(-50, 250), st.floats(-50, 150)), min_size=3, max_size=3))
def test_what_is_left_of_a_triangle_is_what_of_it_is_in_the_picture(corners):
    from kinema.sketch import _cut

    triangle = np.array(corners)
    left = _cut(triangle, np.array(HW[::-1], float))
    ys, xs = np.mgrid[0.5:100:2, 0.5:200:2]
    turns = np.roll(triangle, -1, 0) - triangle
    aside = [t[0] * (ys - c[1]) - t[1] * (xs - c[0]) for c, t in zip(triangle, turns, strict=True)]
    inside = np.all(np.array(aside) > 0, 0) | np.all(np.array(aside) < 0, 0)
    area = SketchedPart(HAND, left).area_px if len(left) else 0.0
    assert area == pytest.approx(inside.sum() * 4, abs=700)  # pixels of 2 along an outline of at most 600


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not json", "is no JSON"),
        ("[1]", "holds a list"),
        ({"shapes": []}, "holds no shape"),
        ({}, "holds no shape"),
        ({"shape": []}, "did you mean 'shapes'"),
        ({"shapes": [3]}, "shape 0: is 3"),
        ({"shapes": [{"circle": [1, 1, 1]}]}, "has no part"),
        ({"shapes": [{"part": "rihgt_hand", "circle": [9, 9, 2]}]}, "did you mean right_hand"),
        ({"shapes": [{"part": "hand", "circle": [9, 9, 2]}]}, "did you mean left_hand or right_hand"),
        ({"shapes": [{"part": "background", "circle": [9, 9, 2]}]}, "which there is not"),
        ({"shapes": [{"part": "qqq", "circle": [9, 9, 2]}]}, "take one of: head, neck"),
        (one(), "has 0 outlines"),
        (one(circle=[1, 1, 1], polygon=[]), "has 2 outlines"),
        (one(circel=[1, 1, 1]), "did you mean 'circle'"),
        (one(circle=[9, 9]), r"expected: \[cx, cy, r\]"),
        (one(circle=[9, 9, 0]), "has the radius 0"),
        (one(circle=[9, "9", 2]), r"expected: \[cx, cy, r\]"),
        ('{"shapes": [{"part": "head", "circle": [9, NaN, 2]}]}', "finite"),
        (one(ellipse=[9, 9, 5, -1, 0]), "has the radius -1"),
        (one(polygon=[[1, 1], [5, 5]]), "has 2 corners"),
        (one(polygon=[[1, 1], [5, 5], [9, 9]]), "has no area"),
        (one(polygon=[[1, 1], [5, 5], 4]), "corner 2"),
        (one(circle=[300, 40, 8]), "lies outside of the picture: x 292 to 308"),
        (one(circle=[9, 9, 2], subject=-1), "is -1"),
        (one(circle=[9, 9, 2], subject=True), "is True"),
        ({"image_size": [100, 100], **one(circle=[9, 9, 2])}, "the picture 200x100"),
        ({"image_size": [0, 0], **one(circle=[9, 9, 2])}, r"is \[0, 0\]"),
    ],
)
def test_what_is_refused(load, content, says):
    with pytest.raises(InputError, match=says):
        load(content)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_sketch(tmp_path / "none.json", HW)


def test_the_shipped_example_and_that_of_the_page_read(load):
    sketch = load_sketch(ROOT / "examples" / "sketch.json", (128, 128))
    assert [s.part for s in sketch.shapes] == ["right_hand", "left_hand"]
    page = (ROOT / "docs" / "control.md").read_text()
    assert len(load(page.partition("```json\n")[2].partition("```")[0], (128, 128)).shapes) == 3


def test_the_code_of_the_page_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "control.md").read_text()
    exec(page.partition("```python\n")[2].partition("```")[0], {})
    assert capsys.readouterr().out.startswith("right_hand [90")


def test_a_drag_moves_the_parts_outline(picture):
    sketch = sketch_from_drags([("right_hand", (50, 60), (80, 40))], *picture)
    (shape,) = sketch.shapes
    assert (shape.part, shape.subject, sketch.image_hw) == ("right_hand", 0, HW)
    np.testing.assert_allclose(shape.centre_px, [80, 40], atol=0.6)
    assert shape.area_px == pytest.approx(24 * 16, rel=0.15)


def test_a_drag_takes_the_part_of_the_subject_that_it_starts_on(picture):
    (shape,) = sketch_from_drags([("right hand", (146, 61), (146, 51))], *picture).shapes
    assert shape.subject == 1
    np.testing.assert_allclose(shape.centre_px, [150, 50], atol=0.6)


@pytest.mark.parametrize("name", ["auto", "", "AUTO"])
def test_a_drag_without_a_part_takes_what_is_under_its_start(picture, name):
    (shape,) = sketch_from_drags([(name, (50, 20), (50, 30))], *picture).shapes
    assert shape.part == "head"


def test_a_part_of_a_single_pixel_is_dragged_as_a_small_circle(picture):
    part_ids, subject_ids = picture
    part_ids[80, 100], subject_ids[80, 100] = PART_IDS["object"], 3
    (shape,) = sketch_from_drags([("object", (100, 80), (120, 80))], part_ids, subject_ids).shapes
    np.testing.assert_allclose(shape.centre_px, [120.5, 80.5], atol=1e-6)
    assert shape.area_px == pytest.approx(np.pi * 6**2, rel=0.03)


@pytest.mark.parametrize(
    ("drag", "says"),
    [
        (("auto", (100, 90), (120, 90)), "there is nothing(.|\n)*right_hand at 50,60"),
        (("head", (50, 60), (60, 60)), "there is no head(.|\n)*head at 50,20"),
        (("left_foot", (50, 60), (60, 60)), "there is no left_foot"),
        (("foot", (50, 60), (60, 60)), "did you mean left_foot or right_foot"),
        (("auto", (-500, 60), (60, 60)), "there is nothing"),
        (("right_hand", (50, 60), (500, 60)), "outside of the picture"),
    ],
)
def test_drags_that_are_refused(picture, drag, says):
    with pytest.raises(InputError, match=says):
        sketch_from_drags([drag], *picture)


def test_a_drag_on_a_picture_of_nothing_says_so():
    empty = np.zeros(HW, np.uint8)
    with pytest.raises(InputError, match="nothing was found"):
        sketch_from_drags([("auto", (5.0, 5.0), (9.0, 9.0))], empty, empty)


def test_drags_in_words():
    expected = ("right_hand", (40.0, 60.0), (90.5, 30.0))
    assert parse_drag("right_hand 40,60 90.5,30") == expected
    assert parse_drag(["right_hand", "40,60", "90.5,30"]) == expected
    assert parse_drag("40,60 90.5,30") == ("auto", *expected[1:])


@pytest.mark.parametrize("words", ["right_hand", "right_hand 1,2", "right_hand 1,2 3", "a b 1,2 3,4", "head 1,2 nan,3"])
def test_drags_in_wrong_words(words):
    with pytest.raises(InputError, match="--drag"):
        parse_drag(words)


def test_a_kind_that_is_not_in_the_picture_is_refused_and_a_hidden_part_is_not(picture):
    square = np.array([[1.0, 1], [5, 1], [5, 5]])
    check_parts(Sketch((SketchedPart(PART_IDS["left_foot"], square),), HW), picture[0])
    with pytest.raises(InputError, match="belongs to an animal, but the picture shows person"):
        check_parts(Sketch((SketchedPart(PART_IDS["tail"], square),), HW), picture[0])
