"""How CogVideoX reads a prompt: by its own text encoder, or offline, by distilled token vectors.

Input: prompts. Output: as many vectors each as the transformer was made for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

log = logging.getLogger(__name__)


@runtime_checkable
class PromptEncoder(Protocol):
    """Prompts to what the transformer reads: as many tokens as it was made for, of its text width."""

    def encode(self, prompts: Sequence[str]) -> Float[Tensor, "B L E"]: ...


class T5Prompts:
    """CogVideoX's own text encoder: T5 v1.1 XXL through transformers."""

    def __init__(self, tokenizer: Any, model: Any, tokens: int):
        self.tokenizer, self.model, self.tokens = tokenizer, model, tokens

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Float[Tensor, "B L E"]:
        count = max(len(ids) for ids in self.tokenizer(list(prompts)).input_ids)
        _warn_of_length(count, self.tokens)
        asked = self.tokenizer(
            list(prompts), padding="max_length", max_length=self.tokens, truncation=True, return_tensors="pt"
        )
        return self.model(asked.input_ids.to(self.model.device))[0]


class TokenPrompts:
    """The offline encoder of the mini model: the vectors of the prompt's tokens (`kinema.optimize.text_encoder`).

    Each is of root mean square 1 and gets its place in the sentence added as sines and cosines, since CogVideoX itself
    knows no order of its text; what is past the end is 0.
    """

    def __init__(self, tokens: int):
        from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid

        from kinema.optimize.text_encoder import TokenTableEncoder

        self.encoder, self.tokens = TokenTableEncoder(), tokens
        places = torch.arange(tokens, dtype=torch.float32)
        self.places = get_1d_sincos_pos_embed_from_grid(self.encoder.width, places).float()

    def encode(self, prompts: Sequence[str]) -> Float[Tensor, "B L E"]:
        ids = torch.full((len(prompts), self.tokens), -1)
        texts = [prompt.lower() for prompt in prompts]
        for row, encoded in zip(ids, self.encoder.tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
            _warn_of_length(len(encoded.ids), self.tokens)
            kept = encoded.ids[: self.tokens]
            row[: len(kept)] = torch.tensor(kept, dtype=torch.int64)
        vectors = self.encoder.table[ids.clamp(min=0)]
        size = vectors.square().mean(-1, keepdim=True).sqrt()
        return (vectors / size.clamp(min=1e-6) + self.places) * (ids >= 0)[..., None]


def _warn_of_length(count: int, most: int) -> None:
    if count > most:
        log.warning("the prompt has %d tokens; what comes after the first %d is not read", count, most)
