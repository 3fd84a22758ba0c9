"""How far the videos of a set are from the true ones as distributions: the Frechet distance of their features.

Input: two sets of videos. Output: one number for the sets, none for a clip. Source: Unterthiner et al. 2018 (FVD), on
STATED features: theirs are I3D's, whose weights don't come with kinema; the default is "kinema-handcrafted",
`handcrafted_features.clip_features`. Numbers on different features, or of differently large sets, can't be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from kinema.errors import InputError
from kinema.evaluate.handcrafted_features import clip_features

LEAST_CLIPS = 200
"""About twice the 96 features: fewer leave the covariance without full rank, and the distance mostly noise."""
ClipFeatures = Callable[[UInt8[np.ndarray, "T H W 3"]], Float[np.ndarray, " D"]]
FEATURES: dict[str, ClipFeatures] = {"kinema-handcrafted": clip_features}


def frechet_video_distance(
    videos: Sequence[UInt8[np.ndarray, "_ _ _ 3"]],
    truths: Sequence[UInt8[np.ndarray, "_ _ _ 3"]],
    features: str | ClipFeatures = "kinema-handcrafted",
) -> float:
    """Frechet distance of clip features, squared units of the features, at least 0, lower is better. 200 clips a set.

    features  a name of `FEATURES`, or a function from one video to a vector, such as I3D's
    Two halves of one set are not at 0: state that floor beside it. Raises InputError for fewer than two videos a set.
    """
    function = FEATURES[features] if isinstance(features, str) else features
    return frechet_distance(np.stack([function(v) for v in videos]), np.stack([function(v) for v in truths]))


def frechet_distance(a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "M D"]) -> float:
    """Squared Frechet (2-Wasserstein) distance of two normal distributions fitted to rows, at least 0.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)); Dowson & Landau 1982.
    """
    if min(len(a), len(b)) < 2:
        raise InputError("videos", f"are {len(a)} and {len(b)}", expected=f"two at least, {LEAST_CLIPS} to mean much")
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    distance = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * shared
    return max(0.0, float(distance))
