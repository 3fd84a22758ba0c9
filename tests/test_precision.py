"""In which numbers networks run."""

import pytest
import torch

from kinema.precision import pick_precision, quick_dtype


@pytest.mark.parametrize(("matrix_units", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_takes_bfloat16_only_where_it_has_units_for_it(monkeypatch, matrix_units, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": matrix_units, "avx512_bf16": True})
    assert quick_dtype("cpu") == pick_precision("auto", torch.device("cpu")) == dtype
    assert quick_dtype("cuda") == torch.bfloat16
    assert pick_precision("bfloat16", torch.device("cpu")) == torch.bfloat16
    assert pick_precision("float32", torch.device("cuda")) == torch.float32
