"""Write the part table of `docs/conventions.md` from `kinema.body.skeleton.PARTS`, between its two markers.

python scripts/make_part_table.py
"""

from __future__ import annotations

from pathlib import Path

from kinema.body.skeleton import JOINT_PARTS, JOINTS, PARTS

PAGE = Path(__file__).parents[1] / "docs" / "conventions.md"
BEGIN, END = "<!-- parts: made by scripts/make_part_table.py -->", "<!-- end of parts -->"


def part_table() -> str:
    """Markdown rows: id, name, the joints that move the part."""
    rows = ["| id | part | moved by |", "| --- | --- | --- |"]
    for part, name in PARTS.items():
        movers = [
            joint for category, joints in JOINTS.items()
            for joint, moved in zip(joints, JOINT_PARTS[category], strict=True) if moved == part
        ]  # fmt: skip
        rows.append(f"| {part} | {name.replace('_', ' ')} | {_shortened(movers)} |")
    return "\n".join(rows)


def _shortened(joints: list[str]) -> str:
    if len(joints) > 4:
        return f"{joints[0]} and {len(joints) - 1} more, to {joints[-1]}"
    return ", ".join(joints)


def with_table(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{part_table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
