"""Randomness that is a function of names, not of history: what resumes exactly must not depend on how it got there."""

from __future__ import annotations

import hashlib

import torch


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from any sequence of numbers and names."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(*parts: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh generator on ``device`` seeded by ``parts``."""
    return torch.Generator(device=device).manual_seed(seed_of(*parts))
