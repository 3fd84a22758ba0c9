"""Make the picture of `docs/reposed.md`: true frames of the procedural world, the reposed ones, and what is known.

python scripts/make_reposed_picture.py [--capture cmu_test.npz]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kinema.reinforce.reposed import carry
from kinema.world.sampler import World

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "reposed.png"
SEEDS, SHOWN = (2, 1, 24), (0, 3, 6, 9, 12, 15)
INK = "#333333"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capture", type=Path, help="a multi-clip npz; else the shipped one")
    world = World.load(parser.parse_args().capture, split="test")
    figure = Figure(figsize=(11, 1.9 * 3 * len(SEEDS)), dpi=80, layout="constrained")
    panels = figure.subplots(3 * len(SEEDS), len(SHOWN))
    for k, seed in enumerate(SEEDS):
        clip = world.sample(seed)
        carried = carry(clip.video.frames[0], clip.scene, clip.subject_ids[0])
        rows = {"the truth": clip.video.frames, "reposed": carried.frames, "known": carried.known}
        for axes_row, (title, frames) in zip(panels[3 * k : 3 * k + 3], rows.items(), strict=True):
            for axes, t in zip(axes_row, SHOWN, strict=True):
                axes.imshow(frames[t], cmap="gray", vmin=0, vmax=1 if title == "known" else 255)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            axes_row[0].set_ylabel(title, color=INK, fontsize=11)
    for axes, t in zip(panels[0], SHOWN, strict=True):
        axes.set_title(f"frame {t + 1}", color=INK, fontsize=10)
    FigureCanvasAgg(figure)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE)


if __name__ == "__main__":
    main()
