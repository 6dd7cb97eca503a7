"""In which number format a model computes: bfloat16 where the processor has instructions for it, else float32.

A CPU without bfloat16 instructions computes bfloat16 products correctly, but three to five times slower than float32.
float16 is not offered: hardly any CPU has products in it, and bfloat16 has the range that large activations need.
"""

from __future__ import annotations

import torch

from parvis.errors import UnknownName, UsageError

NAMES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""The words to use; ``auto`` and the dtype's own name (``float32``, ``bfloat16``) are understood as well."""

_WORDS = {**NAMES, **{str(dtype).removeprefix("torch."): dtype for dtype in NAMES.values()}}


def has_bf16_instructions(device: torch.device | str) -> bool:
    """Whether ``device`` computes bfloat16 products in hardware; False where PyTorch cannot say (MPS, CPUs but x86)."""
    device = torch.device(device)
    backend = torch.get_device_module(device)
    if device.type == "cpu":
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(backend, question, bool)()) for question in questions)
    supported = getattr(backend, "is_bf16_supported", None)
    if supported is None or not backend.is_available():
        return False
    try:
        return bool(supported(including_emulation=False))
    except TypeError:  # backends whose question has no such argument do not emulate
        return bool(supported())


def resolve_device(device: str | None) -> torch.device:
    """The device that is meant, ``None`` being the best there is.

    Raises:
        UsageError: PyTorch knows no such device, or this machine has none.
    """
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UsageError(f"device {device!r} cannot be used here ({reason}); give cpu, or leave it out") from error
    return found


def default_precision(device: torch.device | str) -> torch.dtype:
    """bfloat16 where ``device`` has instructions for it, else float32."""
    return torch.bfloat16 if has_bf16_instructions(device) else torch.float32


def resolve(precision: str | torch.dtype | None, device: torch.device | str) -> torch.dtype:
    """The dtype that ``precision`` means on ``device``.

    Args:
        precision: ``"fp32"``, ``"bf16"``, ``"float32"``, ``"bfloat16"``, one of the two dtypes; ``None`` and ``"auto"``
            mean :func:`default_precision`. What is asked for is given, also where it is slow.
        device: where the model will run.

    Raises:
        UnknownName: another word.
        UsageError: another dtype.
    """
    if precision is None or precision == "auto":
        return default_precision(device)
    if isinstance(precision, str):
        if precision not in _WORDS:
            raise UnknownName("precision", precision, (*_WORDS, "auto"))
        return _WORDS[precision]
    if precision not in NAMES.values():
        raise UsageError(f"precision {precision!r} is not supported: give 'fp32', 'bf16' or 'auto'")
    return precision
