"""Parvis against cases made by running the authors' code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch

from parvis.errors import UsageError, WeightsError
from parvis.weights.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = (
    "llamagen_c2i", "llamagen_t2i", "lpd", "par_4", "par_16", "var", "var_shared_aln", "var_vqvae", "vq16_deep",
    "vq16_wide",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_equals_the_authors_code(case: str) -> None:
    checks = verify(GOLDEN / f"{case}.safetensors")
    assert len(checks) >= 4
    assert [check for check in checks if not check.passed] == []


def test_a_wrong_weight_is_noticed(tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(GOLDEN / "lpd.safetensors")
    tensors["weights.mask_token"][..., 0] += 0.5
    safetensors.torch.save_file(tensors, tmp_path / "lpd.safetensors")
    shutil.copy(GOLDEN / "lpd.json", tmp_path)
    assert not all(check.passed for check in verify(tmp_path / "lpd.safetensors"))


def test_a_missing_weight_is_an_error(tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(GOLDEN / "lpd.safetensors")
    del tensors["weights.mask_token"]
    safetensors.torch.save_file(tensors, tmp_path / "lpd.safetensors")
    shutil.copy(GOLDEN / "lpd.json", tmp_path)
    with pytest.raises(WeightsError, match="missing"):
        verify(tmp_path / "lpd.safetensors")


def test_an_unknown_system_is_an_error(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "lpd.safetensors", tmp_path)
    facts = json.loads((GOLDEN / "lpd.json").read_text()) | {"system": "other"}
    (tmp_path / "lpd.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="known: LlamaGen"):
        verify(tmp_path / "lpd.safetensors")


def test_a_truncated_case_is_an_error(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "lpd.json", tmp_path)
    (tmp_path / "lpd.safetensors").write_bytes((GOLDEN / "lpd.safetensors").read_bytes()[:5000])
    with pytest.raises(WeightsError, match="cannot read the case"):
        verify(tmp_path / "lpd.safetensors")
