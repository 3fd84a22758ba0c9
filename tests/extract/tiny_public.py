"""The public perception models with a few thousand random weights each, and their processors, as the hub has them."""

from __future__ import annotations

from pathlib import Path

import torch

WORDS = {
    100: "[UNK]",
    101: "[CLS]",
    102: "[SEP]",
    1012: ".",
    1029: "?",
    2000: "dog",
    2001: "red",
    2002: "ball",
    2003: "##s",
}
"""Token -> word, where BERT has them; GroundingDINO goes by the numbers of its full stops."""


def bert_tokenizer(folder: Path):
    from transformers import BertTokenizer

    vocabulary = ["[PAD]", *(WORDS.get(k, f"[unused{k}]") for k in range(1, 2004))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return BertTokenizer(str(folder / "vocab.txt"))


def grounding_dino():
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    bert = BertConfig(
        vocab_size=2004, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=32, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, num_queries=12, max_text_len=32,
    )  # fmt: skip
    return GroundingDinoForObjectDetection(config)


def grounding_dino_pictures():
    from transformers import GroundingDinoImageProcessorPil

    return GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def save_grounding_dino(folder: Path) -> Path:
    """A folder as the hub has it."""
    folder.mkdir()
    grounding_dino().save_pretrained(folder)
    bert_tokenizer(folder).save_pretrained(folder)
    grounding_dino_pictures().save_pretrained(folder)
    return folder
