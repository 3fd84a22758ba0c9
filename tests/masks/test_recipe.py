"""Recipes: what each operation does, that moves lose nothing, files and words, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_shapes import boxes, centre, disc, done, one_box

from kinema.errors import InputError
from kinema.masks.operations import OPERATIONS
from kinema.masks.parameters import EASES, ease
from kinema.masks.recipe import apply_recipe, as_json, as_text, parse_step, read_recipe, step, write_recipe
from kinema.types import MaskSequence


def random_masks(seed: int, hw: tuple[int, int] = (20, 28)) -> MaskSequence:
    return MaskSequence(np.random.default_rng(seed).random((3, 2, *hw)) < 0.4, ("a", "b"), 8.0)


seeds, shares, angles = st.integers(0, 99), st.floats(-0.6, 0.6), st.floats(-180, 180)


# --- moves: identity, inverse, composition ----------------------------------------------------------------------------


@given(seeds)
def test_a_recipe_that_changes_nothing_changes_no_pixel(seed):
    masks = random_masks(seed)
    for texts in ([], ["shift"], ["scale by=1"], ["rotate degrees=360"], ["slope degrees=0"], ["smooth"],
                  ["dilate by=0"], ["crop"], ["time-warp speed=1"], ["loop times=1 how=again"], ["cut"], ["rate fps=8"],
                  ["length frames=3"], ["hold seconds=0"]):  # fmt: skip
        assert np.array_equal(done(masks, *texts).masks, masks.masks), texts


@given(seeds, shares, shares, st.floats(0.05, 20), angles)
def test_moves_and_their_inverses_give_every_pixel_back(seed, x, y, ratio, degrees):
    masks = random_masks(seed)
    there = [step("shift", x=x, y=y), step("scale", by=ratio), step("rotate", degrees=degrees), step("mirror")]
    back = [step("mirror"), step("rotate", degrees=-degrees), step("scale", by=1 / ratio), step("shift", x=-x, y=-y)]
    assert np.array_equal(apply_recipe(masks, there + back).masks, masks.masks)


@given(seeds)
def test_mirror_and_reverse_undo_themselves_in_two_runs_too(seed):
    masks = random_masks(seed)
    for text in ("mirror", "mirror axis=y", "rotate degrees=180", "reverse", "invert"):
        assert np.array_equal(done(done(masks, text), text).masks, masks.masks)


@given(seeds, st.integers(-12, 12), st.integers(-9, 9))
def test_a_shift_by_whole_pixels_invents_no_pixel(seed, right, down):
    masks = random_masks(seed)
    height, width = masks.masks.shape[2:]
    found = apply_recipe(masks, [step("shift", x=right / width, y=down / height)]).masks
    padded = np.pad(masks.masks, ((0, 0), (0, 0), (height, height), (width, width)))
    assert np.array_equal(found, padded[:, :, height - down : 2 * height - down, width - right : 2 * width - right])


@given(seeds, shares, shares)
def test_a_shift_by_parts_of_pixels_keeps_shapes(seed, x, y):
    masks = random_masks(seed)
    found = apply_recipe(masks, [step("shift", x=x, y=y)]).masks
    right, down = round(x * 28), round(y * 20)
    near = [apply_recipe(masks, [step("shift", x=(right + a) / 28, y=(down + b) / 20)]).masks
            for a in (-1, 0, 1) for b in (-1, 0, 1)]  # fmt: skip
    assert any(np.array_equal(found, n) for n in near)


@given(shares, shares, st.floats(0.3, 3), angles)
def test_two_steps_are_the_one_that_they_make_together(x, y, ratio, degrees):
    ball = disc()
    both = apply_recipe(ball, [step("scale", by=ratio), step("scale", by=1 / ratio), step("shift", x=x, y=y)])
    assert np.array_equal(both.masks, apply_recipe(ball, [step("shift", x=x, y=y)]).masks)
    turned = apply_recipe(ball, [step("rotate", degrees=degrees / 2), step("rotate", degrees=degrees / 2)])
    once = apply_recipe(ball, [step("rotate", degrees=degrees)])
    assert (turned.masks != once.masks).mean() < 1e-3


# --- moves: what they do ----------------------------------------------------------------------------------------------


@given(st.floats(0.25, 3.5))
def test_the_area_grows_with_the_square_of_the_scale(ratio):
    before, after = disc().masks[0, 0], apply_recipe(disc(), [step("scale", by=ratio)]).masks[0, 0]
    assert after.sum() == pytest.approx(before.sum() * ratio**2, abs=0.5 * 2 * np.pi * 12 * ratio)
    np.testing.assert_allclose(centre(after), centre(before), atol=0.3)


def test_a_thin_thing_that_shrinks_is_kept_where_it_covers_half_a_pixel():
    masks = np.zeros((1, 1, 40, 40), bool)
    masks[0, 0, :, 18:22] = True
    found = done(MaskSequence(masks, ("pole",), 8.0), "scale by=0.25").masks[0, 0]
    assert found[15:25].sum(1).tolist() == [1] * 10


@given(angles)
def test_a_turn_keeps_the_area_and_the_centre(degrees):
    box = one_box(1)
    found = apply_recipe(box, [step("rotate", degrees=degrees, about="subject")]).masks[0, 0]
    assert found.sum() == pytest.approx(120, abs=9)
    np.testing.assert_allclose(centre(found), centre(box.masks[0, 0]), atol=0.6)


def test_degrees_turn_clockwise():
    found = done(one_box(1, hw=(64, 64)), "rotate degrees=90").masks[0, 0]  # left of the middle, above it
    np.testing.assert_allclose(centre(found), [64 - 26, 9])


def test_a_zoom_goes_in_equal_ratios_and_eases():
    areas = done(disc(8, frames=5), "scale by=0:1,1:4").masks.sum((1, 2, 3))
    np.testing.assert_allclose(areas[1:] / areas[:-1], 2, rtol=0.05)
    eased = done(disc(8, frames=5), "scale by=0:1,1:4 ease=ease-in").masks.sum((1, 2, 3))
    assert (eased[1:4] < areas[1:4]).all()
    assert eased[4] == areas[4]


def test_a_path_goes_through_its_points():
    found = done(disc(6, frames=9), "path through=0.2,0.5;0.5,0.2;0.8,0.5").masks[:, 0]
    way = np.array([centre(mask) for mask in found]) / [128, 96]
    np.testing.assert_allclose(way[[0, 4, 8]], [[0.2, 0.5], [0.5, 0.2], [0.8, 0.5]], atol=0.006)
    steps = np.linalg.norm(np.diff(way * [128, 96], axis=0), axis=1)
    assert steps.max() < 1.5 * steps.min()


def test_a_path_keeps_the_subjects_own_way_where_it_is_asked_to():
    found = done(one_box(5), "path through=0.5,0.5;0.5,0.75 own=keep").masks[:, 0]
    np.testing.assert_allclose([centre(m) for m in found], [[9 + 3 * t, 26 + 3 * t] for t in range(5)], atol=0.5)


def test_objects_move_together_unless_some_are_named():
    shifted = done(boxes(), "shift x=0.25").masks
    assert np.array_equal(shifted[:, :, :, 16:], boxes().masks[:, :, :, :-16])
    one = done(boxes(), "shift x=0.25 only=runner").masks
    assert np.array_equal(one[:, 1], boxes().masks[:, 1])
    assert np.array_equal(one[:, 0], shifted[:, 0])


def test_uphill_climbs_to_the_right_and_leans_back():
    found = done(one_box(15), "slope degrees=30 lean=0").masks[:, 0]
    middles = np.array([centre(m) for m in found])
    np.testing.assert_allclose(middles[:, 0], 9 + 3 * np.arange(15), atol=0.1)
    np.testing.assert_allclose(middles[:, 1], 26 - np.tan(np.radians(30)) * (middles[:, 0] - 32), atol=0.51)
    assert (found.sum((1, 2)) == 120).all()  # moved by whole pixels, not turned
    wide = MaskSequence(np.zeros((1, 1, 64, 64), bool), ("cat",), 8.0)
    wide.masks[0, 0, 30:34, 20:44] = True
    rows, columns = np.nonzero(done(wide, "slope degrees=30").masks[0, 0])
    assert np.polyfit(columns, rows, 1)[0] == pytest.approx(-np.tan(np.radians(30)), abs=0.08)


def test_a_crop_is_a_smaller_picture():
    found = done(boxes(), "crop left=0.25 bottom=0.75").masks
    assert np.array_equal(found, boxes().masks[:, :, :36, 16:])
    with pytest.raises(InputError, match="leaves 0x48"):
        done(boxes(), "crop left=0.5 right=0.5")


@given(st.sampled_from([1, 2, 3]))
def test_a_recipe_fits_any_size(times):
    texts = ("shift x=0.125 y=-0.25", "scale by=2 about=0.25,0.5", "dilate by=0.03125", "mirror")
    small = done(boxes(), *texts).masks
    large = MaskSequence(boxes().masks.repeat(times, 2).repeat(times, 3), boxes().labels, 8.0)
    found = done(large, *texts).masks[:, :, times // 2 :: times, times // 2 :: times]
    assert (found != small).mean() < 0.01


# --- times ------------------------------------------------------------------------------------------------------------


def order(*texts, frames: int = 5) -> list[int]:
    """Which frames of a clip are shown, told by how far the box is."""
    found = done(one_box(frames), *texts).masks[:, 0]
    return [int(np.flatnonzero(mask.any(0))[0] - 4) // 3 for mask in found]


def test_times():
    assert order("reverse") == [4, 3, 2, 1, 0]
    assert order("loop times=2") == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1]
    assert order("loop times=1.4 how=again") == [0, 1, 2, 3, 4, 0, 1]
    assert order("loop seconds=1") == [0, 1, 2, 3, 4, 3, 2, 1, 0]
    assert order("hold seconds=0.25") == [0, 1, 2, 3, 4, 4, 4]
    assert order("hold at=0.25 seconds=0.125") == [0, 1, 1, 2, 3, 4]
    assert order("cut start=0.25 end=0.75") == [1, 2, 3]
    assert order("length frames=3") == [0, 1, 2]
    assert order("length seconds=1") == [0, 1, 2, 3, 4, 4, 4, 4, 4]
    assert order("rate fps=16") == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert order("rate fps=4") == [1, 3]
    assert order("time-warp speed=2") == [0, 2, 4]
    assert order("time-warp speed=0.5") == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert order("time-warp to=0:0,0.5:1,1:0") == [0, 2, 4, 2, 0]
    assert order("time-warp seconds=1 between=blend") == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert order("loop times=3", frames=1) == [0, 0, 0]
    assert order("loop times=3", frames=2) == [0, 1] * 3


def test_a_blend_goes_on_between_frames():
    found = done(one_box(3, step_px=4), "time-warp speed=0.5 between=blend").masks[:, 0]
    np.testing.assert_allclose([centre(m)[0] for m in found], [9, 11, 13, 15, 17])
    assert (found.sum((1, 2)) == 120).all()


def test_times_and_moves_mix_without_loss():
    masks = random_masks(3)
    shift = {"0": 0.1, "1": 0.4}
    found = apply_recipe(masks, [step("shift", x=shift), step("reverse"), step("shift", x={"0": -0.4, "1": -0.1})])
    assert np.array_equal(found.masks, masks.masks[::-1])


# --- recipes as a whole -----------------------------------------------------------------------------------------------


def test_the_masks_that_were_given_stay_as_they_are():
    masks, before = boxes(), boxes().masks
    for name in OPERATIONS:
        done(masks, EXAMPLES.get(name, name))
        assert np.array_equal(masks.masks, before), name


EXAMPLES = {
    "scale": "scale by=0.5", "path": "path through=0,0;1,1", "slope": "slope degrees=9", "rotate": "rotate degrees=9",
    "time-warp": "time-warp speed=2", "loop": "loop times=2", "hold": "hold seconds=1", "length": "length seconds=2",
    "rate": "rate fps=4", "dilate": "dilate by=0.1", "drop": "drop only=tree",
}  # fmt: skip


# --- easing, files, words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", EASES)
def test_easing_begins_at_0_ends_at_1_and_never_goes_back(how):
    found = ease(np.linspace(0, 1, 101), how)
    assert found[0] == 0
    assert found[-1] == pytest.approx(1)
    assert (np.diff(found) >= 0).all()
    slow = {"linear": (1, 1), "ease-in": (0, 2), "ease-out": (2, 0), "ease-in-out": (0, 0)}[how]
    np.testing.assert_allclose(np.diff(found)[[0, -1]] * 100, slow, atol=0.04)


def test_recipes_come_back_from_files_and_words(tmp_path):
    texts = (
        "scale by=0:1,0.5:2,1:1 about=subject ease=ease-out",
        "path through=0.1,0.5;0.9,0.25 own=keep",
        "shift x=0.125 only='oak tree,dog'",
        "fill at=0.25,0.5",
        "reverse",
    )
    recipe = tuple(parse_step(text) for text in texts)
    write_recipe(recipe, tmp_path / "r.json")
    again = read_recipe(tmp_path / "r.json")
    assert again == recipe
    assert tuple(parse_step(as_text(s)) for s in recipe) == recipe
    assert json.loads(as_json(recipe))[2] == {"op": "shift", "x": 0.125, "only": ["oak tree", "dog"]}
    assert as_json(()) == "[]\n"


@given(st.sampled_from(sorted(OPERATIONS)), st.text(max_size=8), st.text(max_size=8))
def test_any_words_are_read_or_refused(op, name, value):
    try:
        parse_step(f"{op} {name}={value}")
    except InputError:
        return


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shfit x=1", "did you mean 'shift'"),
        ("zoom", "take one of: scale, shift"),
        ("shift z=0.1", "take one of: x, y, ease, only"),
        ("scale bye=2", "did you mean 'by'"),
        ("scale", "does not say scale's 'by'"),
        ("scale by=0", "is 0\n(.*)0.01 to 100"),
        ("scale by=big", "is 'big'"),
        ("scale by=nan", "is nan"),
        ("shift x=2:1", "keyframe '2'"),
        ("shift x=0:", "is '0:'"),
        ("shift x", "NAME=VALUE"),
        ("shift x='1", "cannot be read"),
        ("shift x=0.1 ease=easein", "did you mean 'ease-in'"),
        ("path through=0,0", "two points or more"),
        ("scale by=2 about=middle", '"picture"'),
        ("reverse only=dog", "it has none"),
        ("loop seconds=1 only=dog", "parameter 'only'"),
        ("drop", "what to drop"),
        ("", "cannot be read|operation"),
    ],
)
def test_steps_that_are_refused(text, says):
    with pytest.raises(InputError, match=says):
        parse_step(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shift x=0.1 only=rnner", "did you mean 'runner'"),
        ("time-warp", "one of speed, seconds, to"),
        ("time-warp speed=2 seconds=1", "one of speed, seconds, to"),
        ("loop", "one of them"),
        ("loop seconds=9000", "frames"),
        ("cut start=0.9 end=0.1", "start before the end"),
    ],
)
def test_steps_that_do_not_fit_the_masks(text, says):
    with pytest.raises(InputError, match=says):
        done(boxes(), text)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is no JSON"),
        ('{"op": "mirror"}', "holds a dict"),
        ("[1]", "step 0: is 1"),
        ('[{"op": "mirror"}, {"x": 1}]', "step 1"),
        ('[{"op": "shift", "x": {"half": 1}}]', "keyframe 'half'"),
        ('[{"op": "shift", "x": {}}]', "no keyframe"),
        ('[{"op": "shift", "x": true}]', "is True"),
        ('[{"op": "shift", "only": 3}]', "is 3"),
        ('[{"op": "shift", "only": ["a", 3]}]', "label"),
        ('[{"op": "path", "through": [[0, 0], [1]]}]', "two points"),
        ('[{"op": "path", "through": [[0, 0], [1, "x"]]}]', "is 'x'"),
        ('[{"op": "mirror", "axis": ["x"]}]', "one of x, y"),
    ],
)
def test_recipe_files_that_are_refused(content, says, tmp_path):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(InputError, match=says):
        read_recipe(tmp_path / "r.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "gone.json")
