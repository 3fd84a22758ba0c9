"""The benchmark of full-size models runs through, on configurations of a few thousand weights."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_svd import temporal_autoencoder, tiny_encoder, tiny_unet
from tiny_wan import tiny_vace_pipeline

from kinema.presets import PRESETS

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import speed_full


def config_of(model):
    return {**model.config, "_class_name": type(model).__name__}


def tiny(name):
    """Configurations, and the preset with clips as small as they are."""
    if name == "svd":
        encoder = tiny_encoder(image_size=224, patch_size=112)
        seen = {**encoder.config.to_diff_dict(), "_class_name": type(encoder).__name__}
        configs = {"unet": config_of(tiny_unet()), "vae": config_of(temporal_autoencoder()), "image_encoder": seen}
        return configs, replace(PRESETS[name], pixels=128 * 64, frames=4, coarse_frames=2, steps=6, coarse_steps=4)
    pipeline = tiny_vace_pipeline()
    configs = {
        "transformer": config_of(pipeline.transformer), "vae": config_of(pipeline.vae),
        "text_encoder": {"d_model": pipeline.text_encoder.config.d_model},
    }  # fmt: skip
    return configs, replace(PRESETS[name], pixels=64 * 32, frames=9, coarse_frames=5, steps=6, coarse_steps=4)


@pytest.mark.parametrize("name", ["svd", "vace-1.3b"])
def test_every_level_is_timed_against_one_stage(name):
    found = speed_full.of_full(name, *tiny(name))
    assert list(found) == ["quality", "balanced", "fast"]
    for row in found.values():
        assert row["stages 1 and 3, of one"] == pytest.approx(
            (row["stage 1 s"] + row["stage 3 s"]) / row["one stage s"]
        )
        assert row["peak GB"] > 0
