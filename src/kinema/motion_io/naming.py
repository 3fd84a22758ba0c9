"""Which joint of a rig is which joint of SMPL-X: the known naming schemes, and users' mapping files.

A table entry is SMPL-X joint -> the rig's name. `*` is the side ("Left", ".L", ...), `#` a finger's number, `|`
separates alternatives, and `A+B` means half way between A's and B's rotation. Names are compared without case,
punctuation and namespace ("mixamorig:LeftArm" is "leftarm").
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinema.body.skeleton import FINGERS, HUMAN_JOINTS
from kinema.errors import InputError
from kinema.motion_io.content import read_bytes

REQUIRED = (
    "pelvis", "head", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip


@dataclass(frozen=True)
class NamingScheme:
    """How one family of rigs names its joints. `sides` are the left and right words, for `*`."""

    name: str
    sides: tuple[str, str]
    trunk: dict[str, str]
    limbs: dict[str, str]
    fingers: dict[str, str]

    def table(self) -> dict[str, str]:
        """SMPL-X joint -> the rig's names for it."""
        names = dict(self.trunk)
        for side, word in zip(("left", "right"), self.sides, strict=True):
            names |= {f"{side}_{joint}": given.replace("*", word) for joint, given in self.limbs.items()}
            for finger, given in self.fingers.items():
                for k in "123":
                    names[f"{side}_{finger}{k}"] = given.replace("*", word).replace("#", k)
        return names


SCHEMES: tuple[NamingScheme, ...] = (
    NamingScheme(
        "SMPL-X",
        ("left_", "right_"),
        {"pelvis": "pelvis", "spine1": "spine1", "spine2": "spine2", "spine3": "spine3", "neck": "neck",
         "head": "head", "jaw": "jaw"},
        {joint: f"*{joint}" for joint in ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")}
        | {"eye_smplhf": "*eye_smplhf|*eye"},
        {finger: f"*{finger}#" for finger in FINGERS},
    ),
    NamingScheme(
        "SMPL",
        ("L_", "R_"),
        {"pelvis": "Pelvis", "spine1": "Spine1", "spine2": "Spine2", "spine3": "Spine3", "neck": "Neck",
         "head": "Head", "jaw": "Jaw"},
        {joint: f"*{joint}" for joint in ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")},
        {finger: f"*{finger}#" for finger in FINGERS},
    ),
    # CMU, MotionBuilder-friendly release: the forearm twists half in ForeArm, half in Hand; FingerBase bends the hand
    NamingScheme(
        "CMU",
        ("Left", "Right"),
        {"pelvis": "Hips", "spine1": "LowerBack", "spine2": "Spine", "spine3": "Spine1", "head": "Head"},
        {"hip": "*UpLeg", "knee": "*Leg", "ankle": "*Foot", "foot": "*ToeBase", "collar": "*Shoulder",
         "shoulder": "*Arm", "elbow": "*ForeArm+*Hand|*ForeArm", "wrist": "*FingerBase"},
        {},
    ),
    NamingScheme(
        "CMU (Daz)",
        ("l", "r"),
        {"pelvis": "hip", "spine1": "abdomen", "spine3": "chest", "neck": "neck", "head": "head"},
        {"hip": "*Thigh", "knee": "*Shin", "ankle": "*Foot", "foot": "*Toe", "collar": "*Collar",
         "shoulder": "*Shldr", "elbow": "*ForeArm", "wrist": "*Hand"},
        {"index": "*Index#", "middle": "*Mid#", "pinky": "*Pinky#", "ring": "*Ring#", "thumb": "*Thumb#"},
    ),
    NamingScheme(
        "Mixamo, LAFAN and MotionBuilder",
        ("Left", "Right"),
        {"pelvis": "Hips", "spine3": "Spine3|Spine2|Spine1", "spine1": "Spine", "spine2": "Spine1|Spine2",
         "neck": "Neck", "head": "Head", "jaw": "Jaw"},
        {"hip": "*UpLeg", "knee": "*Leg", "ankle": "*Foot", "foot": "*ToeBase|*Toe", "collar": "*Shoulder",
         "shoulder": "*Arm", "elbow": "*ForeArm", "wrist": "*Hand", "eye_smplhf": "*Eye"},
        {finger: f"*Hand{finger}#" for finger in FINGERS},
    ),
    NamingScheme(
        "Blender",
        (".L", ".R"),
        {"pelvis": "hips|pelvis|spine", "spine1": "spine.001|spine", "spine2": "spine.002",
         "spine3": "spine.003|chest", "neck": "spine.004|neck", "head": "spine.006|head|spine.005", "jaw": "jaw"},
        {"hip": "thigh*", "knee": "shin*", "ankle": "foot*", "foot": "toe*", "collar": "shoulder*",
         "shoulder": "upper_arm*", "elbow": "forearm*", "wrist": "hand*", "eye_smplhf": "eye*"},
        {"thumb": "thumb.0#*"} | {finger: f"f_{finger}.0#*" for finger in FINGERS if finger != "thumb"},
    ),
    NamingScheme(
        "Biovision",
        ("Left", "Right"),
        {"pelvis": "Hips", "spine3": "Chest4|Chest3|Chest2|Chest", "spine1": "Chest", "spine2": "Chest2|Chest3",
         "neck": "Neck", "head": "Head"},
        {"hip": "*Hip|*UpLeg", "knee": "*Knee|*LowLeg", "ankle": "*Ankle|*Foot", "foot": "*Toe",
         "collar": "*Collar", "shoulder": "*Shoulder|*UpArm", "elbow": "*Elbow|*LowArm", "wrist": "*Wrist|*Hand"},
        {},
    ),
)  # fmt: skip


def match_joints(
    path: Path, names: tuple[str, ...], mapping: Mapping[str, str] | str | Path | None = None
) -> tuple[str, dict[str, tuple[int, ...]]]:
    """The scheme's name, and SMPL-X joint -> one source joint, or two to go half way between.

    Raises InputError where a joint that motion cannot do without is not found, with the nearest names.
    """
    if mapping is not None:
        label, found = "the mapping given", _given_mapping(path, names, mapping)
    else:
        candidates = [(scheme.name, _match(scheme, names)) for scheme in SCHEMES]
        label, found = max(candidates, key=lambda c: _score(c[1]))
    missing = [joint for joint in REQUIRED if joint not in found]
    if missing:
        used = {index for indices in found.values() for index in indices}
        free = [name for index, name in enumerate(names) if index not in used]
        nearest = [f"{joint} (perhaps {near!r})" for joint in missing[:6] for near in _near(joint, free)[:1]]
        raise InputError(
            path,
            f"its joints follow no known naming scheme: nothing is {', '.join(missing[:6])}; nearest is {label}",
            expected=f"names as in {', '.join(scheme.name for scheme in SCHEMES)}",
            mend='give a mapping, JSON of {"source joint": "smplx joint"}: `kinema convert IN OUT --mapping FILE`'
            + (f"; nearest: {', '.join(nearest)}" if nearest else ""),
        )
    return label, found


def _score(found: dict[str, tuple[int, ...]]) -> tuple[int, int]:
    """Needed joints found, then source joints explained; where two schemes tie, the earlier one is the special one."""
    return sum(joint in found for joint in REQUIRED), sum(map(len, found.values()))


def _match(scheme: NamingScheme, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    prefix = re.sub(r"[A-Za-z0-9]*$", "", names[0])  # "Model_" of "Model_Hips", where all begin so
    strip = len(prefix) if all(name.startswith(prefix) for name in names) else 0
    index = {_plain(name[strip:]): k for k, name in reversed(list(enumerate(names)))}
    found: dict[str, tuple[int, ...]] = {}
    taken: set[int] = set()
    for joint, given in scheme.table().items():
        for alternative in given.split("|"):
            indices = tuple(index.get(_plain(name), -1) for name in alternative.split("+"))
            if min(indices) >= 0 and not taken & set(indices):
                found[joint] = indices
                taken |= set(indices)
                break
    return found


def _given_mapping(
    path: Path, names: tuple[str, ...], mapping: Mapping[str, str] | str | Path
) -> dict[str, tuple[int, ...]]:
    where: object = "mapping"
    if not isinstance(mapping, Mapping):
        where = Path(mapping)
        text = read_bytes(where)
        try:
            mapping = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(
                where, f"is not JSON ({error})", expected='{"source joint": "smplx joint", ...}'
            ) from error
    if not isinstance(mapping, Mapping) or not all(isinstance(v, str) for kv in mapping.items() for v in kv):
        raise InputError(where, "is not a table of names", expected='{"source joint": "smplx joint", ...}')
    found: dict[str, tuple[int, ...]] = {}
    for source, target in mapping.items():
        for name, known, whose in ((source, names, path), (target, HUMAN_JOINTS, "SMPL-X")):
            if name not in known:
                near = _near(name, known)
                mend = f"perhaps {' or '.join(map(repr, near[:2]))}" if near else ""
                raise InputError(where, f"{name!r} is no joint of {whose}", expected=", ".join(known[:25]), mend=mend)
        if target in found:
            raise InputError(where, f"two joints are mapped to {target!r}", expected="one")
        found[target] = (names.index(source),)
    return found


def _plain(name: str) -> str:
    base = name.rpartition(":")[2]
    base = base[4:] if base[:4] in ("DEF-", "ORG-") else base
    return "".join(c for c in base.lower() if c.isalnum())


def _near(name: str, known) -> list[str]:
    plain = {_plain(k): k for k in known}
    return [plain[k] for k in difflib.get_close_matches(_plain(name), plain, 3, 0.5)]
