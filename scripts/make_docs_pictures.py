"""Make the pictures of the pages in `docs/images/`, all of them from the package and its sample captures.

python scripts/make_docs_pictures.py [parts] [maps] [diagnosis] [refine] [stages] [world] [world_wide] [masks] [animate]
python scripts/make_docs_pictures.py extract --videos FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import kinema
from kinema.body.skeleton import PARTS
from kinema.camera import fixed_cameras, make_cameras
from kinema.masks.compose import compose
from kinema.masks.preview import preview
from kinema.masks.recipe import apply_recipe, parse_step
from kinema.optimize.lengthen import resample
from kinema.render.control_maps import MapName, render_maps, to_rgb
from kinema.render.palette import PART_COLORS
from kinema.render.shot import make_shot, outermost_points
from kinema.stage_sheet import labelled_rows
from kinema.types import JOINT_COUNT, BodyMotion, Cameras, Category, MaskSequence

ROOT = Path(__file__).parents[1]
IMAGES, EXAMPLES = ROOT / "docs" / "images", ROOT / "examples"
INK, PAPER = "#333333", np.array([222, 228, 234], np.uint8)
SHARPNESS = 2
"""Pictures are drawn this many times larger and averaged, since the maps have hard edges."""
EXTRACT_SEED = 3
"""Of the world's clip that shows what extraction sees."""


def at_rest(category: Category) -> BodyMotion:
    """One frame of the mean body in its rest pose, standing on the floor."""
    still = np.zeros((1, JOINT_COUNT[category], 3), np.float32)
    motion = BodyMotion(category, still, np.zeros((1, 3), np.float32), np.zeros(0, np.float32), 20.0)
    lowest = kinema.load_body(category).vertices(motion)[..., 1].min()
    return BodyMotion(category, still, np.array([[0, -lowest, 0]], np.float32), np.zeros(0, np.float32), 20.0)


def part_picture(motion: BodyMotion, size: tuple[int, int], azimuth_deg: float) -> np.ndarray:
    """Part colours on a light ground, uint8 [H,W,3]."""
    large = (size[0] * SHARPNESS, size[1] * SHARPNESS)
    camera = fixed_cameras(outermost_points(make_shot(motion)), large, np.radians(azimuth_deg), np.radians(8))
    parts = render_maps(motion, camera, large, ("parts",)).part_ids
    assert parts is not None
    picture = np.where(parts[0, ..., None] == 0, PAPER, PART_COLORS[parts[0]])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def parts() -> None:
    human, animal = at_rest("human"), at_rest("animal")
    figure = Figure(figsize=(13, 8.6), dpi=110, layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(4.2, 4.2, 1.9))
    views = [
        (human, "human, from the front", 0), (human, "human, from behind", 180),
        (animal, "animal, its left side", 65), (animal, "animal, its right side", -65),
    ]  # fmt: skip
    for k, (motion, title, azimuth) in enumerate(views):
        axes = figure.add_subplot(grid[k // 2, k % 2])
        axes.imshow(part_picture(motion, (640, 480), azimuth))
        axes.set_title(title, color=INK)
        axes.axis("off")
    for row, wanted in enumerate((range(1, 32), range(32, 64))):
        axes = figure.add_subplot(grid[row, 2])
        axes.axis("off")
        axes.legend(
            handles=[
                Patch(color=PART_COLORS[p] / 255, label=f"{p}  {n.replace('_', ' ').removeprefix('animal ')}")
                for p, n in PARTS.items() if p in wanted
            ],
            loc="center left", frameon=False, fontsize=9, labelcolor=INK,
        )  # fmt: skip
    save(figure, "parts.png")


def maps() -> None:
    motion = kinema.load_motion(EXAMPLES / "punch.npz")
    names = get_args(MapName)
    drawn = render_maps(motion[48:49], follow(motion, (640, 480))[48], (640, 480), names)
    figure = Figure(figsize=(12, 6.6), dpi=110, layout="constrained")
    for axes, name in zip(figure.subplots(2, 3).flat, names, strict=True):
        axes.imshow(to_rgb(drawn, name)[0])
        axes.set_title(f"--map {name}", color=INK, family="monospace")
        axes.axis("off")
    save(figure, "maps.png")


def diagnosis() -> None:
    motion = kinema.load_motion(EXAMPLES / "punch_noisy.npz")
    IMAGES.mkdir(exist_ok=True)
    kinema.plot_diagnosis(motion, kinema.diagnose(motion), IMAGES / "diagnosis.png")


def refine() -> None:
    noisy, true = (kinema.load_motion(EXAMPLES / f"{name}.npz") for name in ("punch_noisy", "punch"))
    mended = kinema.refine(noisy, prompt="a man punches")
    rows = {"as it came": noisy, "mended": mended, "the truth": true}
    chosen = np.arange(32, 56, 4)
    cameras = follow(true, (300, 360))
    figure = Figure(figsize=(12, 7.4), dpi=110, layout="constrained")
    panels = figure.subplots(len(rows), len(chosen))
    for axes, frame in zip(panels[0], chosen, strict=True):
        axes.set_title(f"frame {frame}", color=INK, fontsize=10)
    for axes_row, (title, motion) in zip(panels, rows.items(), strict=True):
        for axes, frame in zip(axes_row, chosen, strict=True):
            drawn = render_maps(motion[frame : frame + 1], cameras[frame], (300, 360), ("shaded",))
            axes.imshow(to_rgb(drawn, "shaded")[0])
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        axes_row[0].set_ylabel(title, color=INK, fontsize=11)
    save(figure, "refine.png")


def stages() -> None:
    """The sheet of a run from a picture and a drag."""
    from kinema.stage_sheet import sheet

    drag = ("left_hand", (33.0, 34.0), (40.0, 14.0))
    result = kinema.generate(EXAMPLES / "dancer.png", "a man lifts his hand", drags=[drag])
    cv2.imwrite(str(IMAGES / "stages.png"), sheet(result)[..., ::-1])


def world() -> None:
    """Clips of the procedural world: four frames, and the first and last part masks."""
    from kinema.render.palette import parts_to_rgb
    from kinema.world.sampler import World

    clips = [World.load().sample(seed) for seed in range(6)]
    rows = [np.concatenate([*c.video.frames[[0, 5, 10, 15]], *parts_to_rgb(c.part_ids)[[0, 15]]], 1) for c in clips]
    halves = np.concatenate([np.concatenate(rows[:3]), np.concatenate(rows[3:])], 1)
    cv2.imwrite(str(IMAGES / "world.png"), halves[..., ::-1])


def world_wide() -> None:
    """Clips of the wide world: first, middle and last frame."""
    from kinema.world.sampler import World

    clips = [
        World.load(wide=True).sample(seed) for seed in (203, 204, 205, 206, 210, 212, 213, 214, 219, 220, 222, 223)
    ]
    rows = [np.concatenate([*c.video.frames[[0, 7, 15]]], 1) for c in clips]
    columns = [np.concatenate(rows[first : first + 4]) for first in (0, 4, 8)]
    sheet = cv2.resize(np.concatenate(columns, 1), None, fx=0.625, fy=0.625, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(IMAGES / "world_wide.png"), sheet[..., ::-1])


def masks() -> None:
    """The commands of docs/masks.md: from 3D, a zoom, uphill, and both in one picture."""
    boxer = boxer_masks((192, 128))
    zoom = edited(boxer, "length seconds=4", "scale by=0:0.6,1:1.5 about=0.5,0.4 ease=ease-in-out")
    uphill = edited(boxer, "scale by=0.5", "shift x=0:-0.35,1:0.35 y=0.1", "slope degrees=25 lean=0.3")
    rows = {
        "boxer, from motion capture: kinema render --map mask": boxer,
        "zoom: scale by=0:0.6,1:1.5": zoom,
        "uphill: scale, shift, slope degrees=25": uphill,
        "both in one picture: kinema masks compose": compose([boxer, uphill], [0, 0.5]),
    }
    apart = ((0, 0), (0, 0), (0, 2), (0, 0))
    pictures = [(title, np.pad(preview(one), apart, constant_values=255)) for title, one in rows.items()]
    cv2.imwrite(str(IMAGES / "masks.png"), labelled_rows(pictures, columns=6)[..., ::-1])


def animate() -> None:
    """The second example of the README: masks, and the videos of two prompts on them."""
    prompts = ("a woman in a red suit, boxing; in the snow", "a silver robot, boxing; under a night sky with stars")
    closer = edited(boxer_masks((128, 128)), "loop seconds=12", "scale by=0:0.8,1:1.2 ease=ease-in-out")
    rows = []
    for prompt in prompts:
        video = kinema.animate(closer, prompt).video
        assert video is not None
        rows.append((prompt, video.frames))
    white = np.repeat(np.any(closer.masks, axis=1)[..., None], 3, -1).astype(np.uint8) * 255
    rows.insert(0, ("masks", white[: len(rows[0][1])]))
    cv2.imwrite(str(IMAGES / "animate.png"), labelled_rows(rows)[..., ::-1])


def boxer_masks(size: tuple[int, int]) -> MaskSequence:
    """What `kinema render examples/punch.npz --map mask --fps 8` draws."""
    motion = resample(kinema.load_motion(EXAMPLES / "punch.npz"), fps=8.0)
    ids = render_maps(motion, size=size, maps="mask").subject_ids
    assert ids is not None
    return MaskSequence(ids[:, None] > 0, ("boxer",), motion.fps)


def edited(masks: MaskSequence, *operations: str) -> MaskSequence:
    return apply_recipe(masks, [parse_step(words) for words in operations])


def real(folder: Path | None) -> None:
    """What comes of real pictures: refined part masks and the video, of each picture of a folder."""
    from kinema.render.palette import parts_to_rgb

    assert folder is not None, "the picture of real pictures needs --pictures FOLDER"
    sheets = []
    for file in sorted(folder.glob("*.png")):
        result = kinema.generate(file, "a person moves")
        rows = [(file.stem, result.video.frames), ("refined part masks", parts_to_rgb(result.condition.part_ids))]
        sheets.append(labelled_rows(rows, columns=6))
    width = max(s.shape[1] for s in sheets)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
    cv2.imwrite(str(IMAGES / "real.png"), np.concatenate(padded)[..., ::-1])


def extract(folder: Path | None) -> None:
    """Scenes over the videos that they were taken from: a real car from given masks, and what mini-perception sees."""
    from kinema.extract.extractor import extract as scene_of
    from kinema.extract.subjects import of_masks
    from kinema.render.overlay import overlay
    from kinema.types import Video
    from kinema.video import read_frames
    from kinema.world.sampler import World

    assert folder is not None, "the picture of extraction needs --videos FOLDER, with cars.mp4 and masks/cars.npz"
    known = np.load(folder / "masks" / "cars.npz")
    wanted = range(int(known["first_frame"]) + 2, int(known["first_frame"]) + len(known["masks"]) - 4, 12)
    size = (256, 144)
    frames = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for t, f in enumerate(read_frames(folder / "cars.mp4"))
              if t in wanted]  # fmt: skip
    small = [cv2.resize(m, size, interpolation=cv2.INTER_AREA) > 0 for m in known["masks"]]
    car = Video(np.stack(frames), 12.5 / 12)
    masks = MaskSequence(np.stack([small[t - int(known["first_frame"])] for t in wanted])[:, None], ("car",), car.fps)
    rows = [
        ("given masks: kinema extract cars.mp4 --masks cars/", car, scene_of(car, observation=of_masks(car, masks)))
    ]
    clip = World.load(split="test").sample(EXTRACT_SEED).video
    rows.append(("mini-perception: kinema extract clip.mp4", clip, scene_of(clip)))
    apart = ((0, 0), (0, 0), (0, 2), (0, 0))
    drawn = [(title, np.pad(np.stack(list(overlay(scene, video))), apart, constant_values=255))
             for title, video, scene in rows]  # fmt: skip
    sheets = [labelled_rows([drawn[0]], columns=4), labelled_rows([drawn[1]], columns=8)]
    width = min(s.shape[1] for s in sheets)
    sheet = np.concatenate([s[:, :width] for s in sheets])
    cv2.imwrite(str(IMAGES / "extract.png"), sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


def follow(motion: BodyMotion, size: tuple[int, int]) -> list[Cameras]:
    """A following camera, as one of a single frame for each frame."""
    points = outermost_points(make_shot(motion))
    found = make_cameras("follow", points, size, np.radians(30), motion.fps)
    return [Cameras(found.K[t, None], found.T_camera_world[t, None], found.image_hw) for t in range(len(motion))]


def save(figure: Figure, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(IMAGES / name)


PICTURES = {
    "parts": parts, "maps": maps, "diagnosis": diagnosis, "refine": refine, "stages": stages, "world": world,
    "world_wide": world_wide,
    "masks": masks, "animate": animate,
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*PICTURES, "real", "extract", []],
        help="which; all but real and extract where none is given",
    )  # fmt: skip
    parser.add_argument("--pictures", type=Path, help="folder of real pictures, for real")
    parser.add_argument("--videos", type=Path, help="folder with cars.mp4 and masks/cars.npz, for extract")
    asked = parser.parse_args()
    for name in asked.names or PICTURES:
        if name == "extract":
            extract(asked.videos)
        else:
            real(asked.pictures) if name == "real" else PICTURES[name]()
