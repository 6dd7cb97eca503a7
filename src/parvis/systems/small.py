"""Small class-conditional systems for any data: the published families at any size, with any tokenizer.

What ``parvis train lpd-small`` and its like write. The parts are those of the family's own file; only the size, the
number of passes and the guidance are other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from parvis.errors import UnknownName, UsageError
from parvis.model.block import swiglu_hidden
from parvis.model.transformer import Size
from parvis.sampling import Sampling
from parvis.system import Preset, System
from parvis.systems import arpg, llamagen, lpd, mar, maskgit, nar, par, randar, var, xar
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig

FREE: dict[str, Callable[..., System]] = {
    "arpg": arpg.arpg,
    "lpd": lpd.lpd,
    "maskgit": maskgit.maskgit,
    "randar": randar.randar,
}
"""Families of codes of one scale that can be drawn in any number of passes."""
FIXED: dict[str, Callable[..., System]] = {
    "nar": nar.nar,
    "raster": llamagen.llamagen,
}
"""Those whose order decides the number."""
KINDS = (*FREE, *FIXED, "mar", "par", "var", "xar")
GATED = ("arpg", "nar", "par", "randar", "raster")
"""Families with LlamaGen's gated MLP, whose hidden width follows from the width."""


def small(
    kind: str = "lpd",
    resolution: int = 64,
    *,
    depth: int = 6,
    width: int = 256,
    heads: int = 4,
    classes: int | Sequence[str] = 1,
    tokenizer: Mapping[str, Any] | None = None,
    steps: int | None = None,
    parallel_tokens: int = 4,
    scale: float = 2.0,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> System:
    """A small system of one family.

    Args:
        kind: a key of ``KINDS``. resolution: pixels per side, a multiple of the tokenizer's factor.
        depth, width, heads: of the transformer (of each half for MAR and xAR).
        classes: their number, or their names by number. tokenizer: arguments of its config: ``VQConfig``, for ``var``
            ``MultiScaleConfig``, for ``mar`` and ``xar`` ``KLConfig``.
        steps: passes, where the family leaves the choice. parallel_tokens: PAR's n.
        scale, temperature, top_p: the preset.
    """
    if kind not in KINDS:
        raise UnknownName("family of small models", kind, KINDS)
    names = () if isinstance(classes, int) else tuple(classes)
    count = classes if isinstance(classes, int) else len(names)
    if count < 1:
        raise UsageError(f"a class-conditional model needs at least one class; got {count}")
    size = Size(depth, width, heads, hidden(kind, width))
    system = _family(kind, size, resolution, count, dict(tokenizer or {}), steps, parallel_tokens)
    sampling = Sampling(temperature=temperature, top_p=top_p)
    preset = Preset(system.preset.steps, scale, sampling)
    return replace(system, name=f"{kind}-small-{resolution}", classes=names, preset=preset)


def hidden(kind: str, width: int) -> int:
    """Hidden width of the MLP as the family has it."""
    return swiglu_hidden(width) if kind in GATED else int(width * 8 / 3) if kind == "xar" else 4 * width


def _family(
    kind: str, size: Size, resolution: int, classes: int, tokenizer: dict[str, Any], steps: int | None, parallel: int
) -> System:
    if kind == "var":
        return var.var(size, resolution, tokenizer=MultiScaleVQ(MultiScaleConfig(**tokenizer)), classes=classes)
    if kind in ("mar", "xar"):
        latents = KL(KLConfig(**tokenizer))
        side = latents.grid(resolution, resolution).height
        if kind == "xar":
            return xar.xar(
                size, resolution, max(1, side // 2), solver_steps=steps or 20, tokenizer=latents, classes=classes
            )
        steps = min(steps or 16, side**2)
        return mar.mar(size, resolution, steps, diffusion_steps=25, tokenizer=latents, classes=classes)
    codes = VQGAN(VQConfig(**tokenizer))
    if kind == "par":
        return par.par(size, resolution, parallel, tokenizer=codes, classes=classes)
    if kind in FIXED:
        return FIXED[kind](size, resolution, tokenizer=codes, classes=classes)
    tokens = codes.grid(resolution, resolution).tokens
    chosen = 8 if kind == "maskgit" else 10 if tokens <= 64 else 20
    return FREE[kind](size, resolution, steps=min(steps or chosen, tokens), tokenizer=codes, classes=classes)
