"""The page in a real browser: from a picture to a video and on, and what goes wrong on the way. The network is cut."""

import math
import re

import numpy as np
import pytest
from PIL import Image

from kinema.motion_io import load_motion, save_motion
from kinema.studio import shipped

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
JOB_MS = 240_000
"""On a loaded machine; a quiet core takes a twentieth."""
MARKUP = "<img src=x onerror=document.title=1> walks"
TABS = ("Animate a picture", "See and mend", "Masks to video", "Clean a motion", "Compare", "Results")


@pytest.fixture
def page(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield opened(context, server)
    context.close()


def opened(context, server):
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.errors, page.hosts = [], set()
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on(
        "request", lambda request: page.hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None
    )
    page.goto(server.url)
    page.wait_for_selector("#run")
    return page


def tab(page, name):
    """Open a tab, also where the row of tabs is too narrow for it."""
    page.wait_for_timeout(200)
    if page.get_by_role("tab", name=name).count():
        page.get_by_role("tab", name=name).click()
    else:
        page.locator(".overflow-menu > button").first.click()
        page.locator(".overflow-dropdown button", has_text=re.compile(name)).first.click()


def fill(page, field, value):
    """A number field, and out of it."""
    page.locator(f"{field} input[type=number]").fill(str(value))
    page.keyboard.press("Tab")


def ended(page, status):
    page.wait_for_selector(f"{status} .kn-done, {status} .kn-bad, {status} .kn-stop", timeout=JOB_MS)
    return page.inner_text(status)


def drag(page, selector, right, down):
    """Take hold of the middle of a part with the mouse."""
    box = page.locator(selector).first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y + down, steps=4)
    page.mouse.up()


def paint(page, part):
    """A circle in the picture's upper left, as the target of a part."""
    page.get_by_role("button", name="Paint a target").click()
    page.locator("#parts select").select_option(label=part)
    box = page.locator("#parts svg").bounding_box()
    around = [(box["x"] + 90 + 30 * math.cos(k / 2), box["y"] + 90 + 30 * math.sin(k / 2)) for k in range(13)]
    page.mouse.move(*around[0])
    page.mouse.down()
    for at in around[1:]:
        page.mouse.move(*at)
    page.mouse.up()


def test_a_picture_a_drag_and_a_painted_target_then_a_rerun_and_a_reload(page, server):
    """Targets of our example, of the mouse and of the brush; the result's forearm by keys and on from stage 2."""
    page.click("#example-0")
    page.wait_for_selector("#parts svg ellipse")
    drag(page, '#parts polygon[data-part="left_thigh"]', 30, -20)
    paint(page, "head")
    assert page.inner_text("#parts p >> nth=-1") == "Targets: left hand moved, left thigh moved, head painted."
    assert page.locator("#parts ellipse.kn-target").count() == 2, "the parts' ellipses follow"
    fill(page, "#seconds", 1)
    page.click("#run")
    assert "Done" in ended(page, "#status")
    page.wait_for_selector("#final video")
    page.wait_for_selector("#motion3d canvas")
    command = page.inner_text("#made pre")
    assert command.startswith("kinema generate picture.png")
    assert "--drag left_hand 33,34 40,14" in command
    assert "--target sketch.json" in command
    assert page.locator("#zip").is_visible()
    tab(page, "See and mend")
    page.locator('#mend-parts polygon[data-part$="_forearm"]').first.wait_for()
    turned_by_keys(page.locator("#mend-3d"))
    assert "Joints that stage 2 hardly saw" in page.inner_text("#mend-faults")
    page.locator('#mend-parts polygon[data-part$="_forearm"]').first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    page.locator("#mend-seed input").fill("-1")
    page.click("#from3")
    assert "seed: is -1" in ended(page, "#mend-status")
    assert "seed: is -1" in page.inner_text("#mend-seed"), "it also stands beside the field"
    assert "forearm moved" in page.inner_text("#mend-parts p >> nth=-1"), "an error loses nothing"
    page.locator("#mend-seed input").fill("7")
    page.click("#from2")
    page.wait_for_selector("#mend-status .kn-run, #mend-status .kn-wait")
    assert "Done" in ended(page, "#mend-status")
    page.locator("#mend-made", has_text="--from-stage 2").wait_for()
    page.reload()
    page.wait_for_selector("#run")
    tab(page, "Results")
    page.wait_for_selector("#gallery img")
    assert page.locator("#gallery img").count() >= 2
    tab(page, "Compare")
    page.wait_for_selector("#pair img")
    page.locator("#pair-table tbody tr").nth(4).wait_for()
    assert page.errors == []
    assert page.hosts == {server.url.split("/")[2]}
    assert server.asked_for() == ""


def turned_by_keys(view):
    """The 3D view stands, goes to its last frame, and is seen from another side."""
    view.get_by_role("button", name="Pause").click()
    view.get_by_role("slider").press("End")
    assert view.locator(".kn-time").inner_text() == "frame 8 of 8"
    canvas = view.locator("canvas")
    before = canvas.evaluate("(shown) => shown.toDataURL()")
    canvas.press("ArrowLeft")
    assert canvas.evaluate("(shown) => shown.toDataURL()") != before


def by_keys(page, selector):
    """Tab to an element, then Enter."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return page.keyboard.press("Enter")
    raise AssertionError(f"{selector} cannot be reached by Tab")


def test_masks_are_edited_composed_and_become_a_video_whose_seams_are_plotted(page, tmp_path):
    tab(page, "Masks to video")
    page.click("#masks-ours")
    page.wait_for_selector("#masks-preview video")
    before = page.get_attribute("#masks-preview video", "src")
    page.locator("#mask-right input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(old) => document.querySelector('#masks-preview video').src != old", arg=before)
    page.locator("#mask-more textarea").fill("length seconds=2.5\nmirror")
    ball = np.zeros((20, 1, 64, 64), bool)
    ball[..., 5:20, 5:20] = True
    np.savez(tmp_path / "ball.npz", masks=ball, labels=["ball"], fps=8.0)
    page.get_by_text("Compose with others").click()
    page.locator("#masks-other input[type=file]").set_input_files(tmp_path / "ball.npz")
    page.locator("#masks-other", has_text="ball").wait_for()
    page.get_by_role("button", name="Compose", exact=True).click()
    page.locator("#masks-says", has_text="man, ball: 21 frames").wait_for()
    fill(page, "#masks-seconds", 2.5)
    page.click("#masks-run")
    assert "Done" in ended(page, "#masks-status")
    page.wait_for_selector("#masks-final video")
    page.wait_for_selector("#masks-seams img")


def test_a_bad_edit_and_a_bad_file_say_so_beside_the_field_and_lose_nothing(page, tmp_path):
    tab(page, "Masks to video")
    page.click("#masks-ours")
    page.wait_for_selector("#masks-preview video")
    page.locator("#mask-more textarea").fill("shft x=1")
    page.locator("#mask-more textarea").blur()
    page.wait_for_selector("#edit-says .kn-bad")
    assert "did you mean" in page.inner_text("#edit-says")
    tab(page, "Animate a picture")
    page.click("#example-2")
    page.wait_for_selector("#parts svg")
    page.locator("#prompt textarea").fill("<img src=x onerror=alert(1)> a dog runs")
    (tmp_path / "photo.png").write_text("not a picture")
    page.locator("#picture input[type=file]").set_input_files(tmp_path / "photo.png")
    page.wait_for_selector("#picture-says .kn-bad")
    assert "photo.png: is no picture" in page.inner_text("#picture-says")
    assert page.locator("#parts svg").count() == 1
    assert "a dog runs" in page.input_value("#prompt textarea")
    Image.fromarray(np.full((64, 64, 3), 120, np.uint8)).save(tmp_path / "grey.png")
    page.locator("#picture input[type=file]").set_input_files(tmp_path / "grey.png")
    page.wait_for_selector("#picture-says .kn-bad:has-text('shows no person')")


def test_cancel_stops_and_another_visitor_by_keys_alone_gets_a_video(page, browser, server, tmp_path):
    """Markup in a prompt stays text. The other one goes by Tab and Enter, with a motion of its own, a .bvh."""
    other_context = browser.new_context()
    other = opened(other_context, server)
    by_keys(other, "#example-0")
    other.wait_for_selector("#parts svg ellipse")
    save_motion(load_motion(shipped.HERE / "punch.npz")[:8], tmp_path / "own.bvh")
    other.locator("#motion input[type=file]").set_input_files(tmp_path / "own.bvh")
    other.locator("#motion-says", has_text="human, 0.4 s").wait_for()
    by_keys(other, '#parts polygon[data-part="left_hand"]')
    other.keyboard.press("Delete")
    assert "No targets yet" in other.inner_text("#parts")
    fill(other, "#seconds", 1)
    other.locator("#prompt textarea").fill(MARKUP)
    page.click("#example-1")
    page.wait_for_selector("#parts svg")
    fill(page, "#seconds", 20)
    page.locator("#prompt textarea").fill(MARKUP)
    page.click("#run")
    page.wait_for_selector("#status .kn-run")
    by_keys(other, "#run")
    other.wait_for_selector("#status .kn-wait")
    page.click("#cancel")
    assert "Cancelled" in ended(page, "#status")
    assert page.locator("#final video").count() == 0
    assert "Done" in ended(other, "#status")
    assert "--motion motion.bvh" in other.inner_text("#made pre")
    assert page.input_value("#prompt textarea") == MARKUP
    tab(other, "Results")
    other.locator("#gallery button img").first.click()
    other.locator("#gallery-panel h3", has_text=MARKUP).wait_for()
    tab(other, "Compare")
    other.locator("#pair figcaption", has_text=MARKUP).first.wait_for()
    assert page.title() == other.title() == "kinema studio"
    other_context.close()


def test_every_tab_is_accessible_in_light_and_dark_and_fits_a_phone(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found, all_rules = {}, {"resultTypes": ["violations"]}
    for scheme, width, rules in (("light", 1280, {}), ("dark", 390, {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 800})
        for name in TABS:
            tab(page, name)
            page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth") <= width + 1, name
            for violation in axe.run(page, options=all_rules | rules).response["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    found[f"{name}, {scheme}: {violation['id']}"] = [n["html"][:160] for n in violation["nodes"][:4]]
    assert found == {}
