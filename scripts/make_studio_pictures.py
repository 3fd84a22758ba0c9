"""Make docs/images/studio/: every tab of the studio with something in it, in light, in dark and on a phone.

    python scripts/make_studio_pictures.py [--folder WORK]

Needs pip install -e '.[dev]' and Debian's chromium (or CHROMIUM=/path/to/it). The jobs take a minute on a quiet core; with
--folder the results of an earlier run are used again.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from kinema.studio.app import Settings, open_studio, start

OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "studio"
TABS = {
    "animate": "Animate a picture", "mend": "See and mend", "masks": "Masks to video", "clean": "Clean a motion",
    "compare": "Compare", "results": "Results",
}  # fmt: skip
JOB_MS = 600_000
LAPTOP_PX, PHONE_PX = (1280, 860), (390, 844)
WIDE_PX, TALLEST_PX, QUALITY = 960, 1500, 68
PHONE_TALL_PX = 2200


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--port", type=int, default=7871)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp()) / "studio"
    fresh = not folder.exists()
    settings = Settings(folder, port=given.port)
    studio = open_studio(settings)
    page = start(settings, studio)
    OUT.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for scheme in ("light", "dark"):
                take(browser, page.local_url, scheme, LAPTOP_PX, make=scheme == "light" and fresh)
            take(browser, page.local_url, "light", PHONE_PX, make=False)
            browser.close()
    finally:
        page.close()
        studio.jobs.close()
    total = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"{OUT}: {len(list(OUT.iterdir()))} pictures, {total / 1e6:.2f} MB")


def take(browser, url: str, scheme: str, size: tuple[int, int], make: bool) -> None:
    """All tabs at one size and in one scheme, with results that are there, or made first."""
    is_phone = size == PHONE_PX
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme,
                                  reduced_motion="reduce")  # fmt: skip
    tab = context.new_page()
    tab.set_default_timeout(120_000)
    tab.goto(url)
    tab.wait_for_selector("#run")
    strips = []
    for name, title in TABS.items():
        open_tab(tab, title)
        tab.wait_for_timeout(1500)
        fill(tab, name, make)
        tab.evaluate("document.activeElement && document.activeElement.blur()")
        tab.mouse.move(2, 2)
        tab.wait_for_timeout(1500)
        shot = Path(tempfile.gettempdir()) / f"kinema-{name}.png"
        tab.screenshot(path=shot, full_page=True)
        picture = Image.open(shot).convert("RGB")
        if is_phone:
            strips.append(picture.crop((0, 0, picture.width, min(PHONE_TALL_PX, picture.height))))
            continue
        picture = picture.resize((WIDE_PX, round(picture.height * WIDE_PX / picture.width)), Image.Resampling.LANCZOS)
        picture.crop((0, 0, WIDE_PX, min(TALLEST_PX, picture.height))).save(
            OUT / f"{name}_{scheme}.jpg", quality=QUALITY
        )
    if strips:
        sheet = Image.new("RGB", (len(strips) * (size[0] + 20), PHONE_TALL_PX), "#94a3b8")
        for k, strip in enumerate(strips):
            sheet.paste(strip, (k * (size[0] + 20) + 10, 0))
        sheet.resize((sheet.width * 2 // 3, sheet.height * 2 // 3), Image.Resampling.LANCZOS).save(
            OUT / "phone.jpg", quality=QUALITY
        )
    context.close()


def open_tab(tab, title: str) -> None:
    shown = tab.get_by_role("tab", name=title)
    if shown.count() and shown.first.is_visible():
        shown.first.click()
        return
    tab.locator(".overflow-menu > button").first.click()
    tab.locator(".overflow-dropdown button", has_text=re.compile(title)).first.click()


def fill(tab, name: str, make: bool) -> None:
    """Put something to look at into a tab."""
    if name == "animate":
        tab.click("#example-0")
        tab.wait_for_selector("#parts svg ellipse")
        job(tab, "#run", "#status", make)
    elif name == "mend":
        tab.wait_for_selector("#mend-parts polygon")
    elif name == "masks":
        tab.click("#masks-ours")
        tab.wait_for_selector("#masks-preview video")
        job(tab, "#masks-run", "#masks-status", make)
    elif name == "clean":
        tab.click("#clean-ours")
        tab.wait_for_selector("#faults-before table")
        job(tab, "#clean-run", "#clean-status", make)
    elif name == "compare":
        tab.wait_for_selector("#pair img")
        tab.wait_for_selector("#pair-table table", timeout=JOB_MS)
    else:
        tab.wait_for_selector("#gallery img")
        tab.locator("#gallery button img").first.click()
        tab.wait_for_selector("#gallery-panel section")


def job(tab, button: str, status: str, make: bool) -> None:
    if make:
        tab.click(button)
        tab.wait_for_selector(f"{status} .kn-done", timeout=JOB_MS)


if __name__ == "__main__":
    main()
