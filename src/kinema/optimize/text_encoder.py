"""Prompt -> vector, behind a protocol: the motion prior and the video models take whichever encoder they were trained with.

The default needs no download: a table of 30,522 token vectors distilled from the sentence encoder all-MiniLM-L6-v2
(`scripts/make_text_encoder.py`); a sentence is the normalised mean of its tokens. `ClipTextEncoder` is what ReVision
uses (CLIP, Radford et al. 2021), for full installs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

ASSET = Path(__file__).parents[1] / "assets/text_encoder"


@runtime_checkable
class TextEncoder(Protocol):
    """Sentences to unit vectors."""

    width: int

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "N E"]: ...


class TokenTableEncoder:
    """The offline default: mean of distilled token vectors, 128 numbers, float32, unit length (0 for an empty text)."""

    width = 128

    def __init__(self, folder: Path = ASSET):
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        stored = load_file(folder / "tokens.safetensors")
        self.table = stored["vectors"].float() * stored["scale"][:, None]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "N E"]:
        encoded = self.tokenizer.encode_batch([t.lower() for t in texts], add_special_tokens=False)
        return F.normalize(torch.stack([self.table[e.ids].sum(0) for e in encoded]), dim=-1)


class ClipTextEncoder:
    """CLIP's pooled, projected text embedding, through transformers. `checkpoint` is a local folder or a hub name."""

    def __init__(self, checkpoint: str = "openai/clip-vit-base-patch32"):
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.model = CLIPTextModelWithProjection.from_pretrained(checkpoint, use_safetensors=True).eval()
        self.width = self.model.config.projection_dim

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "N E"]:
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        return F.normalize(self.model(**tokens).text_embeds, dim=-1)


@cache
def default_text_encoder() -> TextEncoder:
    return TokenTableEncoder()
