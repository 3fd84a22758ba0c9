"""BVH text <-> a skeleton with local rotations and positions. What the joints mean is `retarget.py`'s business.

S source joints, T frames. A joint's rotation is the product of its rotation channels in the order that the file
lists them (any order, any number up to three); position channels replace its OFFSET. Lengths are in the file's own
unit. Every refusal names the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.motion_io.content import describe_content, read_bytes

LARGEST = 1e6
"""A length or angle beyond this is a broken number; the largest capture volumes are some 1e4 mm."""
RATE_TOLERANCE = 1e-4
"""Frame times are printed with few digits: a rate this close, relatively, to a whole number of Hz is that number."""
EULER_ORDER = "ZXY"
Lines = Iterator[tuple[int, list[str]]]


@dataclass(frozen=True)
class Bvh:
    """One BVH file. Column vectors; a joint's frame is relative to its parent's, the root's to the file's world.

    parents      -1 for the root; parents come before their children
    offsets      rest position in the parent's frame
    end_offsets  joint -> its End Site
    rotmat       local rotations
    positions    local positions: the offset, or the position channels where there are some
    """

    path: Path
    names: tuple[str, ...]
    parents: Int[np.ndarray, " S"]
    offsets: Float[np.ndarray, "S 3"]
    end_offsets: dict[int, np.ndarray]
    rotmat: Float[np.ndarray, "T S 3 3"]
    positions: Float[np.ndarray, "T S 3"]
    fps: float


def read_bvh(path: str | Path) -> Bvh:
    """Parse a BVH file. Raises InputError with the line where it breaks off or breaks the format."""
    path = Path(path)
    data = read_bytes(path)
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().upper().startswith(b"HIERARCHY"):
        raise InputError(path, f"is {describe_content(data)}", expected="a BVH file, which begins with HIERARCHY")
    text = data.decode("utf-8-sig", errors="replace")
    lines = ((number, line.split()) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1) if line.strip())
    tree = _read_hierarchy(path, lines)
    fps, rows = _read_motion(path, lines, sum(map(len, tree.channels)))
    offsets = np.array(tree.offsets, np.float64)
    rotmat, positions = _apply_channels(tree.channels, offsets, rows)
    return Bvh(path, tuple(tree.names), np.array(tree.parents), offsets, tree.end_offsets, rotmat, positions, fps)


def write_bvh(bvh: Bvh, path: Path, centimetres_per_unit: float = 1) -> None:
    """Write a BVH: root with positions, every joint with ZXY rotations, angles continuous over time."""
    children: list[list[int]] = [[] for _ in bvh.names]
    for joint, parent in enumerate(bvh.parents[1:], 1):
        children[parent].append(joint)
    angle_names = " ".join(f"{axis}rotation" for axis in EULER_ORDER)
    lines, order = ["HIERARCHY"], []

    def describe(joint: int, depth: int) -> None:
        order.append(joint)
        indent = "\t" * depth
        x, y, z = bvh.offsets[joint] * centimetres_per_unit
        position = "Xposition Yposition Zposition " if joint == 0 else ""
        lines.append(f"{indent}{'ROOT' if joint == 0 else 'JOINT'} {bvh.names[joint]}")
        lines.append(f"{indent}{{")
        lines.append(f"{indent}\tOFFSET {x:.6f} {y:.6f} {z:.6f}")
        lines.append(f"{indent}\tCHANNELS {6 if joint == 0 else 3} {position}{angle_names}")
        for child in children[joint]:
            describe(child, depth + 1)
        if joint in bvh.end_offsets:
            x, y, z = bvh.end_offsets[joint] * centimetres_per_unit
            lines.extend(f"{indent}\t{part}" for part in ("End Site", "{", f"\tOFFSET {x:.6f} {y:.6f} {z:.6f}", "}"))
        lines.append(f"{indent}}}")

    describe(0, 0)
    angles = np.unwrap(rotmat_to_euler_deg(bvh.rotmat), axis=0, period=360)[:, order]
    root = bvh.positions[:, 0] * centimetres_per_unit
    rows = np.concatenate([root, angles.reshape(len(angles), -1)], 1)
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / bvh.fps:.12f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def global_transforms(
    parents: Int[np.ndarray, " S"],
    rotmat: Float[np.ndarray, "T S 3 3"],
    positions: Float[np.ndarray, "T S 3"],
) -> tuple[Float[np.ndarray, "T S 3"], Float[np.ndarray, "T S 3 3"]]:
    """Local rotations and positions -> joint positions and rotations in the file's world."""
    place, turn = positions.copy(), rotmat.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            turn[:, joint] = turn[:, parent] @ rotmat[:, joint]
            place[:, joint] = place[:, parent] + (turn[:, parent] @ positions[:, joint, :, None])[..., 0]
    return place, turn


def rotmat_to_euler_deg(rotmat: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """R = Rz(a) Rx(b) Ry(c) -> (a, b, c) in degrees; at b = +-90, where only a and c together matter, c is 0."""
    sine, cosine = rotmat[..., 2, 1], np.hypot(rotmat[..., 0, 1], rotmat[..., 1, 1])
    locked = cosine < 1e-7
    a = np.where(
        locked,
        np.arctan2(rotmat[..., 1, 0], rotmat[..., 0, 0]),
        np.arctan2(-rotmat[..., 0, 1], rotmat[..., 1, 1]),
    )
    c = np.where(locked, 0.0, np.arctan2(-rotmat[..., 2, 0], rotmat[..., 2, 2]))
    return np.degrees(np.stack([a, np.arctan2(sine, cosine), c], -1))


@dataclass
class _Tree:
    """The HIERARCHY section as it is read."""

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)
    end_offsets: dict[int, np.ndarray] = field(default_factory=dict)


def _read_hierarchy(path: Path, lines: Lines) -> _Tree:
    """Read up to and with the line MOTION. `open_blocks` holds the joint of every open brace, END for an End Site."""
    END = -2
    tree, open_blocks, pending = _Tree(), [], None
    number = next(lines)[0]
    for number, words in lines:
        where, key = f"{path}, line {number}", words[0].upper()
        if pending is not None and key != "{":
            raise InputError(where, f"is {' '.join(words)[:40]!r}", expected="an opening brace {")
        if key in ("ROOT", "JOINT"):
            pending = _add_joint(where, tree, words, open_blocks, END)
        elif key == "END":
            if not open_blocks or open_blocks[-1] == END:
                raise InputError(where, "is an End Site outside of a joint")
            pending = END
        elif key == "{" and pending is not None:
            open_blocks.append(pending)
            pending = None
        elif key == "}" and open_blocks:
            open_blocks.pop()
        elif key == "OFFSET" and open_blocks:
            offset = _parse_numbers(where, words[1:], 3, "an offset")
            if open_blocks[-1] == END:
                tree.end_offsets[open_blocks[-2]] = np.array(offset)
            else:
                tree.offsets[open_blocks[-1]] = offset
        elif key == "CHANNELS" and open_blocks and open_blocks[-1] != END:
            tree.channels[open_blocks[-1]] = _parse_channels(where, words)
        elif key == "MOTION" and not open_blocks and tree.names:
            return tree
        else:
            raise InputError(
                where,
                f"has {' '.join(words)[:40]!r} where it cannot stand",
                expected=f"a closing brace of joint {tree.names[open_blocks[-1]]!r}"
                if open_blocks and open_blocks[-1] != END and key == "MOTION"
                else "ROOT, JOINT, End Site, OFFSET, CHANNELS, { } or, after the last }, MOTION",
            )
    raise InputError(
        f"{path}, line {number}",
        "the file ends within its skeleton",
        expected="MOTION",
        mend="it is cut off: copy it again",
    )


def _add_joint(where: str, tree: _Tree, words: list[str], open_blocks: list[int], end: int) -> int:
    name = " ".join(words[1:])
    is_root = words[0].upper() == "ROOT"
    if not name:
        raise InputError(where, "names no joint", expected=f"{words[0]} and a name")
    if is_root and tree.names:
        raise InputError(where, f"is a second root ({name})", expected="one skeleton a file")
    if not is_root and (not open_blocks or open_blocks[-1] == end):
        raise InputError(where, f"joint {name!r} has no parent", expected="JOINT within another joint's braces")
    if name in tree.names:
        raise InputError(where, f"is a second joint named {name!r}", expected="every name once")
    tree.names.append(name)
    tree.parents.append(-1 if is_root else open_blocks[-1])
    tree.offsets.append([0.0, 0.0, 0.0])
    tree.channels.append([])
    return len(tree.names) - 1


def _parse_channels(where: str, words: list[str]) -> list[str]:
    """CHANNELS 3 Zrotation Xrotation Yrotation -> ["Zr", "Xr", "Yr"]."""
    names = [f"{word[0].upper()}{word[1].lower()}" for word in words[2:] if len(word) > 1]
    wrong = [word for word in words[2:] if not re.fullmatch(r"[xyz](position|rotation)", word, flags=re.IGNORECASE)]
    if wrong:
        raise InputError(where, f"has a channel {wrong[0]!r}", expected="Xposition ... Zrotation")
    if len(words) < 2 or words[1] != str(len(names)):
        given = words[1] if len(words) > 1 else "no number"
        raise InputError(where, f"announces {given[:20]} channels and lists {len(names)}", expected="the same number")
    if len(set(names)) != len(names):
        raise InputError(where, "lists a channel twice", expected="each of the six at most once")
    return names


def _parse_numbers(where: object, words: Sequence[str], count: int, what: str) -> list[float]:
    if len(words) != count:
        mend = "where the file ends here it is cut off: copy it again"
        raise InputError(where, f"has {len(words)} numbers", f"{count} for {what}", mend)
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise InputError(where, f"has {str(error).rpartition(':')[2].strip()[:40]}", expected="numbers") from None
    for word, value in zip(words, values, strict=True):
        if not abs(value) <= LARGEST:
            raise InputError(where, f"has {word[:40]}", expected=f"finite numbers up to {LARGEST:g}")
    return values


def _read_motion(path: Path, lines: Lines, width: int) -> tuple[float, Float[np.ndarray, "T C"]]:
    """Read what follows MOTION -> frames a second, channel values."""
    header = {}
    number = 0
    for key, pattern in (("Frames:", r"frames:\s*(\S+)"), ("Frame Time:", r"frame\s*time:\s*(\S+)")):
        number, words = next(lines, (number, []))
        found = re.fullmatch(pattern, " ".join(words), flags=re.IGNORECASE)
        where = f"{path}, line {number}" if number else path
        if not found:
            raise InputError(where, f"is {' '.join(words)[:40]!r}", expected=f"{key!r} and a number")
        header[key] = (_parse_numbers(where, [found[1]], 1, key)[0], where, found[1])
    frames, where, given = header["Frames:"]
    if frames < 1 or frames != int(frames):
        raise InputError(where, f"announces {given[:20]} frames", expected="a whole number, at least 1")
    seconds, where, given = header["Frame Time:"]
    if not 0.001 <= seconds <= 1e3:
        raise InputError(
            where,
            f"is a frame time of {given[:20]}",
            expected="seconds a frame, at least 0.001",
            mend="for 30 Hz write 0.0333333",
        )
    rows = []
    for number, words in lines:
        if len(rows) == frames:
            raise InputError(
                f"{path}, line {number}",
                f"comes after the {int(frames)} announced frames",
                expected="the end of the file",
                mend=f"correct the number after 'Frames:' or delete from line {number}",
            )
        rows.append(_parse_numbers(f"{path}, line {number}", words, width, "the channels of a frame"))
    if len(rows) < frames:
        raise InputError(
            f"{path}, line {number}",
            f"the file ends after {len(rows)} of {int(frames)} frames",
            mend=f"copy it again, or write 'Frames: {len(rows)}' to use what is there"
            if rows
            else "it is cut off: copy it again",
        )
    whole = round(1 / seconds)
    fps = float(whole) if whole and abs(whole * seconds - 1) < RATE_TOLERANCE else round(1 / seconds, 6)
    return fps, np.array(rows, np.float64).reshape(len(rows), width)


def _apply_channels(channels: list[list[str]], offsets: np.ndarray, rows: np.ndarray):
    """Channel values -> local rotations [T,S,3,3] and positions [T,S,3]."""
    rotmat = np.tile(np.eye(3), (len(rows), len(channels), 1, 1))
    positions = np.tile(offsets, (len(rows), 1, 1))
    column = 0
    for joint, names in enumerate(channels):
        for name in names:
            axis, value = "XYZ".index(name[0]), rows[:, column]
            column += 1
            if name[1] == "p":
                positions[:, joint, axis] = value
            else:
                rotmat[:, joint] = rotmat[:, joint] @ _axis_rotation(axis, np.radians(value))
    return rotmat, positions


def _axis_rotation(axis: int, angle: Float[np.ndarray, " T"]) -> Float[np.ndarray, "T 3 3"]:
    """Turns about a coordinate axis, rad."""
    turn = np.tile(np.eye(3), (len(angle), 1, 1))
    b, c = (axis + 1) % 3, (axis + 2) % 3
    turn[:, b, b] = turn[:, c, c] = np.cos(angle)
    turn[:, c, b] = np.sin(angle)
    turn[:, b, c] = -turn[:, c, b]
    return turn
