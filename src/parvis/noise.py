"""Randomness without state: every number is a hash of (seed, position, draw, column).

Nothing depends on call order, batch, device or neighbours, so an image drawn alone equals the same image drawn in a
batch, Jacobi decoding equals sequential decoding, and a draft and its target are coupled for free.

The hash chains the splitmix64 finaliser (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators") over the four whole numbers, in int64 tensor arithmetic that wraps alike on every device.
Legend: B images, n positions.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from parvis.errors import UsageError

CHOICE, ORDER = 1 << 19, 1 << 20
"""Draws 0, 1, .. are for values; those from ``CHOICE`` on decide which values are kept, from ``ORDER`` on orders."""

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # 2^64 / golden ratio, as int64
_MIX1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX2 = 0x94D049BB133111EB - (1 << 64)


def _shift(h: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch shifts the sign in)."""
    return (h >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _absorb(h: Tensor, word: Tensor | int) -> Tensor:
    """The next state of the chain: a bijection of ``word`` for a given ``h``, and of ``h`` for a given ``word``."""
    step = word * _GOLDEN
    h = h + (step if isinstance(step, Tensor) else (step + (1 << 63)) % (1 << 64) - (1 << 63))
    h = _shift(h, 30).bitwise_xor_(h).mul_(_MIX1)
    h = _shift(h, 27).bitwise_xor_(h).mul_(_MIX2)
    return _shift(h, 31).bitwise_xor_(h)


class Noise:
    """Uniforms, normals and permutations for a batch of images, one seed per image.

    Args:
        seeds: whole numbers in 0..2^63-1, one per image (or a long tensor [B]).
        device: where the numbers are made.

    Raises:
        UsageError: no seed, or a seed out of range.
    """

    def __init__(self, seeds: Sequence[int] | Tensor, device: torch.device | str = "cpu") -> None:
        if isinstance(seeds, Tensor):
            if seeds.dtype != torch.long or seeds.ndim != 1:
                raise UsageError(f"seeds are a long tensor [B]; got {seeds.dtype} {list(seeds.shape)}")
            self.seeds = seeds.to(device)
        else:
            self.seeds = torch.tensor([_seed(seed) for seed in seeds], dtype=torch.long, device=device)
        if len(self.seeds) == 0:
            raise UsageError("noise needs one seed per image; got none")
        self._keys = _absorb(self.seeds, 1)
        self._streams: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def device(self) -> torch.device:
        return self.seeds.device

    def to(self, device: torch.device | str) -> Noise:
        """The same noise, made on another device."""
        return Noise(self.seeds, device)

    def uniform(self, positions: Tensor, draw: int = 0, width: int | None = None) -> Tensor:
        """Float32 ``[B, n]`` (``[B, n, width]`` if ``width`` is given), uniform on [0, 1) in steps of 2^-24.

        Args:
            positions: long [n] or [B, n]: position indices, whatever rank they are asked at.
            draw: which of many independent numbers for the position, 0..2^62.
        """
        return _unit(self._bits(positions, draw, width))

    @staticmethod
    def uniforms(asked: Sequence[tuple[Noise, Tensor, int]]) -> Tensor:
        """What :meth:`uniform` gives for several noises of one seed each, end to end: float32 [1, sum of n].

        Args:
            asked: noise, positions [n] or [1, n], draw.
        """
        streams = [noise._stream(draw).expand(1, positions.shape[-1]) for noise, positions, draw in asked]
        places = torch.cat([positions.view(1, -1) for _, positions, _ in asked], 1)
        return _unit(_absorb(torch.cat(streams, 1), places.to(streams[0].device)))

    def normal(self, positions: Tensor, draw: int = 0, width: int | None = None) -> Tensor:
        """Float32 like :meth:`uniform`, standard normal (Box-Muller on two 52-bit uniforms).

        Worked in float64 where the device has it, so that devices agree after rounding to float32.
        """
        h = self._bits(positions, draw, width)
        wide = torch.float32 if h.device.type == "mps" else torch.float64
        radius = (_shift(h, 12) + 1).to(wide) * 2.0**-52  # in (0, 1]
        angle = _shift(_absorb(h, -1), 12).to(wide) * 2.0**-52
        return ((-2.0 * radius.log()).sqrt() * (2.0 * math.pi * angle).cos()).float()

    def permutation(self, tokens: int, draw: int) -> Tensor:
        """Long ``[B, tokens]``: one uniformly random permutation of range(tokens) per image."""
        keys = self._bits(torch.arange(tokens, device=self.device), draw, None)
        return keys.argsort(dim=1, stable=True)

    def _bits(self, positions: Tensor, draw: int, width: int | None) -> Tensor:
        """int64 [B, n] or [B, n, width] of 64 hashed bits."""
        h = _absorb(self._stream(draw), positions.to(self.device))
        if width is None:
            return h
        return _absorb(h[..., None], torch.arange(1, width + 1, device=self.device))

    def _stream(self, draw: int) -> Tensor:
        """int64 [B, 1]: the hash of (seed, draw), kept: the same draw is asked for pass after pass."""
        if draw not in self._streams:
            self._streams[draw] = _absorb(self._keys, draw)[:, None]
        return self._streams[draw]


def _unit(bits: Tensor) -> Tensor:
    """Float32 on [0, 1) of the highest 24 of 64 bits."""
    return _shift(bits, 40).float() * 2.0**-24


def spread(uniform: Tensor, width: int) -> Tensor:
    """Float32 ``[..., width]``: independent uniforms in (0, 1) made from each of ``uniform [...]``, fine near 0."""
    keys = _absorb(torch.zeros_like(uniform, dtype=torch.long), (uniform * 2**24).long())
    bits = _shift(_absorb(keys[..., None], torch.arange(1, width + 1, device=uniform.device)), 12)
    return ((bits + 1).float() * 2.0**-52).clamp_max(1 - 2.0**-24)


def _seed(seed: int) -> int:
    try:
        value = operator.index(seed)
    except TypeError:
        value = -1
    if not 0 <= value < 1 << 63:
        raise UsageError(f"a seed is a whole number in 0..2^63-1; got {seed!r}")
    return value
