"""What ``parvis estimate`` measures: thin models of a recipe or of a published system, on random codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from parvis.assemble import published
from parvis.errors import UnknownName, UsageError
from parvis.generate import plan as order_of
from parvis.model.transformer import Size
from parvis.request import Request
from parvis.system import System
from parvis.systems import PUBLISHED, SYSTEMS
from parvis.systems.small import KINDS, small
from parvis.tokenizer.kl import KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig
from parvis.train.estimate import Estimate, Measured, Step, measure, on_line, whole
from recipes.families import objective
from recipes.published import SIZES
from recipes.settings import IMAGENET, TRAININGS
from recipes.small import BATCH, STEPS

DEPTHS = (2, 4)
"""Numbers of blocks that are measured."""
BATCHES = (1, 2)
"""Numbers of images that are."""
SIDES = (1, 2, 3, 4, 6, 8)
VQ = {"channels": 8, "multipliers": (1, 1, 1, 1), "encoder_blocks": 1, "decoder_blocks": 1, "groups": 4, "codes": 1024}
CODECS: dict[str, dict[str, Any]] = {
    "mar": asdict(KLConfig(channels=8, multipliers=(1, 1, 1, 1), blocks=1, groups=4, z_channels=8)),
    "xar": asdict(KLConfig(channels=8, multipliers=(1, 1, 1, 1), blocks=1, groups=4, z_channels=8)),
    "var": asdict(MultiScaleConfig(SIDES, 8, (1, 1, 1, 1), blocks=1, groups=4, z_channels=8, codes=1024)),
}
"""Stand-ins for the tokenizers of the small recipes: the same grids and codes, hardly any layers."""


@dataclass(frozen=True)
class Plan:
    """What is estimated."""

    kind: str
    """The family."""
    depth: int
    build: Callable[[int], System]
    """A system of that many blocks."""
    batch: int
    epochs: float | None = None
    """Of the published training over ``pictures``."""
    pictures: int = IMAGENET
    steps: int | None = None
    """Of a small recipe."""
    average: bool = True


def plan_of(name: str) -> Plan:
    """The plan of a small recipe, a published training or a published system. Raises UnknownName."""
    kind = name.removesuffix("-small")
    if kind != name and kind in KINDS:
        build = lambda depth: small(kind, 64, depth=depth, tokenizer=CODECS.get(kind, VQ))  # noqa: E731
        return Plan(kind, 6, build, BATCH, steps=STEPS)
    if name not in PUBLISHED:
        raise UnknownName("recipe or published system", name, [*(f"{kind}-small" for kind in KINDS), *PUBLISHED])
    config, how = published(name), TRAININGS.get(name)
    family = "raster" if config.system == "llamagen" else config.system
    if family not in SIZES:
        raise UsageError(f"{name} cannot be estimated: no training of the family {config.system} is known")
    size = SIZES[family][str(config.arguments["size"])]
    others = {key: value for key, value in config.arguments.items() if key != "size"}
    make = partial(SYSTEMS[config.system], **others)
    build = lambda depth: make(size=Size(depth, size.width, size.heads, size.hidden))  # noqa: E731
    if how is None:
        return Plan(family, size.depth, build, 256)
    return Plan(family, size.depth, build, how.batch, how.epochs, average=how.ema > 0)


def estimate(plan: Plan, batch: int, device: str = "cpu") -> Estimate:
    """Measures models of 2 and 4 blocks on 1 and 2 images, and says what ``batch`` images of the whole model take."""
    found: list[Measured] = []
    caches: list[int] = []
    for depth in DEPTHS:
        torch.manual_seed(0)
        system = plan.build(depth)
        model = system.models["main"].to(device).train()
        system.tokenizer.to(device)
        each = [measure(model, step_of(plan.kind, system, count, device)) for count in BATCHES]
        found.append(on_line(each[0], each[1], BATCHES, batch))
        caches.append(cache_bytes(system, device))
    slope = (caches[1] - caches[0]) / (DEPTHS[1] - DEPTHS[0])
    cache = round(caches[0] + slope * (plan.depth - DEPTHS[0]))
    return whole(on_line(found[0], found[1], DEPTHS, plan.depth), batch, cache, plan.average)


def step_of(kind: str, system: System, count: int, device: str) -> Step:
    """The loss of ``count`` images; what it draws (a group table, a number of masked tokens) is the same each time and
    for any count."""
    loss, examples = objective(kind, system), batch_of(system, count, device)

    def step() -> torch.Tensor:
        generator = torch.Generator(device).manual_seed(0)
        return loss(system.models["main"], examples["values"], examples["label"], generator, None)

    return step


def batch_of(system: System, count: int, device: str) -> dict[str, torch.Tensor]:
    """Random codes or latents, and class 0."""
    generator, tokens = torch.Generator().manual_seed(0), system.grid.tokens
    channels = system.tokenizer.channels
    if channels is None:
        values = torch.randint(system.tokenizer.vocabulary, (count, tokens), generator=generator)
    else:
        values = torch.randn(count, tokens, channels, generator=generator)
    return {"values": values.to(device), "label": torch.zeros(count, dtype=torch.long, device=device)}


@torch.no_grad()
def cache_bytes(system: System, device: str) -> int:
    """Keys and values of one picture drawn with guidance."""
    model = system.models["main"]
    label = torch.zeros(1, dtype=torch.long, device=device)
    order, _ = order_of(system, Request(label, (0,)), torch.device(device))
    cache = model.cache(model.plan((*order.before, *order.sizes)), model.context(label, True))
    return cache.keys.nbytes + cache.values.nbytes
