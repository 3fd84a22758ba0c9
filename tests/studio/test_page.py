"""The page in a real browser: from a picture to a video and on, and what goes wrong on the way. The network is cut."""

import re

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
JOB_MS = 240_000
"""On a loaded machine; a quiet core takes a twentieth."""


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
    page.wait_for_timeout(300)
    if page.get_by_role("tab", name=name).count():
        page.get_by_role("tab", name=name).click()
    else:
        page.locator(".overflow-menu > button").first.click()
        page.locator(".overflow-dropdown button", has_text=re.compile(name)).first.click()


def ended(page, status):
    page.wait_for_selector(f"{status} .kn-done, {status} .kn-bad, {status} .kn-stop", timeout=JOB_MS)
    return page.inner_text(status)


def test_two_clicks_then_a_drag_then_a_rerun_and_a_reload(page, server):
    """First result in two clicks; its part is dragged in frame 8 and goes on from stage 3, then from stage 2."""
    page.click("#example-0")
    page.wait_for_selector("#parts svg ellipse")
    hand = page.locator('#parts polygon[data-part="left_foot"], #parts polygon[data-part="right_foot"]').first
    box = hand.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 30, box["y"] - 20, steps=4)
    page.mouse.up()
    assert "foot moved" in page.inner_text("#parts") or page.locator("#parts .kn-target").count() == 1
    page.click("#run")
    assert "Done" in ended(page, "#status")
    page.wait_for_selector("#final video")
    page.wait_for_selector("#motion3d canvas")
    command = page.inner_text("#made pre")
    assert command.startswith("kinema generate picture.png")
    assert "--drag left_hand 33,34 40,14" in command
    tab(page, "See and mend")
    page.wait_for_selector("#mend-parts polygon")
    arm = page.locator('#mend-parts polygon[data-part$="_forearm"]').first
    arm.focus()
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    page.click("#from2")
    page.wait_for_selector("#mend-status .kn-run, #mend-status .kn-wait")
    assert "Done" in ended(page, "#mend-status")
    page.reload()
    page.wait_for_selector("#run")
    tab(page, "Results")
    page.wait_for_selector("#gallery img")
    assert page.locator("#gallery img").count() >= 2
    tab(page, "Compare")
    page.wait_for_selector("#pair img")
    page.locator("#pair-table tbody tr").nth(4).wait_for()
    assert page.locator("#pair-table tbody tr").count() >= 5
    assert page.errors == []
    assert page.hosts == {server.url.split("/")[2]}
    assert server.asked_for() == ""


def test_masks_are_edited_and_become_a_video(page):
    tab(page, "Masks to video")
    page.click("#masks-ours")
    page.wait_for_selector("#masks-preview video")
    page.locator("#mask-more textarea").fill("length seconds=1\nmirror")
    page.locator("#masks-seconds input[type=number]").fill("1")
    page.keyboard.press("Tab")
    page.click("#masks-run")
    assert "Done" in ended(page, "#masks-status")
    page.wait_for_selector("#masks-final video")


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


def test_cancel_stops_and_two_visitors_get_their_own(page, browser, server):
    """Markup in a prompt stays text; the other visitor's job goes on."""
    other_context = browser.new_context()
    other = opened(other_context, server)
    page.click("#example-1")
    page.wait_for_selector("#parts svg")
    page.locator("#prompt textarea").fill("<img src=x onerror=document.title=1> walks")
    page.locator("#seconds input[type=number]").fill("20")
    page.keyboard.press("Tab")
    page.click("#run")
    page.wait_for_selector("#status .kn-run")
    other.click("#example-1")
    other.wait_for_selector("#parts svg")
    other.locator("#seconds input[type=number]").fill("1")
    other.keyboard.press("Tab")
    other.click("#run")
    other.wait_for_selector("#status .kn-wait")
    page.click("#cancel")
    assert "Cancelled" in ended(page, "#status")
    assert page.locator("#final video").count() == 0
    assert "Done" in ended(other, "#status")
    assert "walks" in page.input_value("#prompt textarea")
    assert page.title() == "kinema studio"
    other_context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_tab_is_accessible_and_fits(browser, server, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = opened(context, server)
    found = {}
    for name in ("Animate a picture", "See and mend", "Masks to video", "Clean a motion", "Compare", "Results"):
        tab(page, name)
        page.wait_for_timeout(700)
        assert page.evaluate("document.documentElement.scrollWidth") <= width + 1, name
        for violation in axe.run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found[f"{name}: {violation['id']}"] = [node["html"][:160] for node in violation["nodes"][:4]]
    context.close()
    assert found == {}
