"""The bundled systems: Noto emoji from words, small enough to ship. LPD, and a raster baseline of the same size.

``emoji-64``: 64 x 64 pixels, 64 tokens. ``emoji-128``: 128 x 128 pixels, 256 tokens, 20 passes as in the paper.
Both are :func:`captioned` systems with captions of up to 12 words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parvis.system import System
from parvis.systems.captioned import captioned


def emoji(
    resolution: int = 64,
    kind: str = "lpd",
    *,
    depth: int = 6,
    width: int = 256,
    heads: int = 4,
    words: int = 2048,
    slots: int = 12,
    steps: int | None = None,
    scale: float = 2.5,
    temperature: float = 1.0,
    top_p: float = 1.0,
    tokenizer: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> System:
    """A small text-conditional system; arguments as of :func:`captioned`. name: ``emoji-64`` and its like unless
    given."""
    return captioned(
        kind, resolution, depth=depth, width=width, heads=heads, words=words, slots=slots, steps=steps, scale=scale,
        temperature=temperature, top_p=top_p, tokenizer=tokenizer or {"channels": 32, "codes": 1024},
        name=name or f"emoji-{resolution}" + ("" if kind == "lpd" else "-raster"),
    )  # fmt: skip
