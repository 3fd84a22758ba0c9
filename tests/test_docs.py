"""The pages: links and pictures that exist, a part table that is the code's, commands that are the program's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kinema.body.skeleton import PARTS
from kinema.cli import COMMANDS
from kinema.motion_io.naming import REQUIRED

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    known = {command.__name__ for command in COMMANDS} | {"train"}
    used = set(re.findall(r"\bkinema ([a-z]+)\b(?= [a-zA-Z]+\.| pmp|`)", page.read_text()))
    assert used <= known


def test_the_mapping_file_of_the_page_has_what_is_needed():
    page = (ROOT / "docs" / "motion.md").read_text()
    mapping = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert set(mapping.values()) == set(REQUIRED)


def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "motion.md").read_text()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(page.partition("```python\n")[2].partition("```")[0], {})
    assert capsys.readouterr().out == "(40, 360, 640) (40, 360, 640)\n"
    assert {"dog.npz", "two.mp4"} < {path.name for path in tmp_path.iterdir()}


def test_part_table_is_the_one_of_the_code():
    page = (ROOT / "docs" / "conventions.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| ([a-z ]+) \|", page, re.MULTILINE))
    assert rows == {str(part): name.replace("_", " ") for part, name in PARTS.items()}, "run scripts/make_part_table.py"
