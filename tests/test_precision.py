"""The default precision follows the processor; one argument overrides it."""

from __future__ import annotations

import pytest
import torch

from parvis.errors import UsageError
from parvis.precision import default_precision, has_bf16_instructions, resolve, resolve_device


@pytest.mark.parametrize(
    ("bf16", "amx", "wanted"),
    [
        (False, False, torch.float32),
        (True, False, torch.bfloat16),
        (False, True, torch.bfloat16),
        (True, True, torch.bfloat16),
    ],
)
def test_a_cpu_gets_bf16_only_with_its_instructions(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, amx: bool, wanted: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert default_precision("cpu") == wanted
    assert resolve(None, "cpu") == resolve("auto", torch.device("cpu")) == wanted


def test_a_pytorch_without_the_questions_gets_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert default_precision("cpu") == torch.float32


def test_a_gpu_is_asked_without_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert default_precision("cuda") == torch.float32, "emulated bfloat16 is not support"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert default_precision("cuda:0") == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not has_bf16_instructions("cuda")


def test_mps_gets_float32() -> None:
    assert default_precision("mps") == torch.float32


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("fp32", torch.float32),
        ("float32", torch.float32),
        ("bf16", torch.bfloat16),
        ("bfloat16", torch.bfloat16),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.bfloat16),
    ],
)
def test_what_is_asked_for_is_given(word: str | torch.dtype, wanted: torch.dtype) -> None:
    assert resolve(word, "cpu") == wanted


@pytest.mark.parametrize("word", ["bf61", "fp16", "half", "", "FP32", torch.float16, torch.int8])
def test_anything_else_is_a_usage_error(word: str | torch.dtype) -> None:
    with pytest.raises(UsageError, match=r"fp32|bf16"):
        resolve(word, "cpu")


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    for wrong in ("tpu", "cpu:x", "meta:1x"):
        with pytest.raises(UsageError, match="cannot be used here"):
            resolve_device(wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_here() -> None:
    with pytest.raises(UsageError, match="'cuda' cannot be used here"):
        resolve_device("cuda")
