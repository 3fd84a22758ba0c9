"""int8 weights by torchao, on a CPU: smaller, frames near, adapters come and go, offloaded or not."""

import numpy as np
import pytest
import torch
from test_wan import PICTURE, SAMPLING, moving_parts
from tiny_wan import save_wan_adapter, save_wan_as_public, tiny_wan_transformer

from kinema.errors import InputError
from kinema.reinforce import memory, wan
from kinema.reinforce.memory_estimate import in_int8, nbytes

pytest.importorskip("torchao", reason="the extra kinema[quantise]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_wan_as_public(tmp_path_factory.mktemp("wan") / "tiny-wan")


@pytest.fixture(scope="module")
def adapter(folder, tmp_path_factory):
    return save_wan_adapter(folder, tmp_path_factory.mktemp("adapter") / "motion.safetensors", scale=1.1)


def test_frames_stay_near_and_an_adapter_comes_and_goes(folder, adapter):
    whole = wan.load_wan(folder, adapter, torch.float32)
    small = wan.load_wan(folder, adapter, torch.float32, memory="int8")
    blocks = small.pipeline.transformer.blocks
    assert type(blocks[1].ffn.net[0].proj.weight).__name__ == "Int8Tensor"
    assert type(blocks[0].ffn.net[0].proj.weight).__name__ == "Parameter"  # the adapter has it
    plain = small.generate(PICTURE, SAMPLING)
    moved = small.generate(PICTURE, SAMPLING, moving_parts())
    assert not np.array_equal(plain, moved)
    assert np.array_equal(small.generate(PICTURE, SAMPLING), plain)
    for found, condition in ((plain, None), (moved, moving_parts())):
        assert np.abs(found.astype(int) - whole.generate(PICTURE, SAMPLING, condition)).mean() < 1


def test_the_weights_shrink_as_is_expected():
    transformer = tiny_wan_transformer().to(torch.bfloat16)
    before = nbytes(transformer)
    memory.to_int8(transformer)
    linear = [m.weight for n, m in transformer.named_modules() if memory.is_quantised(n, m)]
    counted = tiny_wan_transformer().to(torch.bfloat16)
    assert in_int8(counted) == 2 * max(weight.numel() for weight in linear)
    assert before - nbytes(counted) == sum(weight.numel() for weight in linear)
    assert all(weight.qdata.dtype == torch.int8 for weight in linear)


def test_a_lora_stays_whole():
    from peft import LoraConfig, inject_adapter_in_model

    transformer = tiny_wan_transformer()
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), transformer)
    given = (torch.ones(1, 12, 2, 8, 8), torch.ones(1), torch.ones(1, 8, 16), torch.ones(1, 5, 16))
    with torch.inference_mode():
        expected = transformer(*given).sample
        memory.to_int8(transformer)
        found = transformer(*given).sample
    query = transformer.blocks[0].attn1.to_q
    assert type(query.base_layer.weight).__name__ == "Int8Tensor"
    assert type(query.lora_A["default"].weight).__name__ == "Parameter"
    assert (found - expected).abs().mean() < 0.02 * expected.abs().mean()


def test_without_torchao_it_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr(memory, "find_spec", lambda name: None)
    memory.check_library("low")
    with pytest.raises(InputError, match=r"kinema\[quantise\]"):
        memory.check_library("int8")
