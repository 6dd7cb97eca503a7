"""What callers may say of the pictures they want, in one place, and the requests that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from parvis.data.captions import Words
from parvis.edit import Edit
from parvis.model.context import Given
from parvis.order import Order
from parvis.planners import Planner, as_planner
from parvis.prompting import Prompts, ask
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import System


class Drawing(TypedDict, total=False):
    """How pictures are drawn: keywords of ``Pipeline.edit``; with those of :class:`Asking`, of ``generate``, ``stream``
    and ``requests``.

    Keys:
        n: pictures of every prompt. seed: of the first picture, the others count on from it; or one seed per picture.
            A picture depends on its own seed alone: it is the same in any batch.
        steps, guidance, temperature, top_k, top_p: as the model's preset unless given.
        order: a name (``parvis.planners.PLANNERS``), an :class:`Order` or a function (grid, steps, noise) -> order in
            place of the model's own, for models that take any.
    """

    n: int
    seed: int | Sequence[int]
    steps: int | None
    guidance: float | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    order: str | Order | Planner | None


class Asking(Drawing, total=False):
    """The same, and of what.

    Keys:
        features: text features [B, n, F] in place of the captions, or a file of them, for a system that takes them;
            mask: which of their rows are words, bool [B, n], all unless given (``parvis/text.py``).
        edit: what of a given picture to keep and what to draw anew; ``Pipeline.prepare`` makes it.
    """

    features: Tensor | str | Path | None
    mask: Tensor | None
    edit: Edit | None


@dataclass(frozen=True, eq=False)
class Asked:
    """Pictures as they were asked for, ready to be drawn in any portions.

    Attributes:
        prompts, seeds: one per picture. given: what conditions them. values, known: known tokens of all (editing).
        settings: what they are sampled with, in words that JSON can hold.
    """

    prompts: list[str]
    seeds: list[int]
    given: Given
    steps: int | None
    guidance: float | None
    sampling: Sampling
    order: str | Order | Planner | None
    edit: Edit | None
    values: Tensor | None
    known: Tensor | None
    settings: dict[str, object]

    def __len__(self) -> int:
        return len(self.seeds)

    def request(self, part: slice) -> Request:
        """The request of some of the pictures."""
        planner = as_planner(self.order, part, len(self))
        asked = Request(
            self.given[part], tuple(self.seeds[part]), self.steps, self.guidance, self.sampling, order=planner
        )
        if self.values is None or self.known is None:
            return asked
        return replace(asked, values=self.values[part], known=self.known[part])

    def requests(self, system: System) -> list[Request]:
        """One for each picture, checked against ``system``."""
        made = [self.request(slice(i, i + 1)) for i in range(len(self))]
        for one in made:
            one.check(system)
        return made


def asked_of(
    system: System,
    words: Words | None,
    device: torch.device,
    dtype: torch.dtype,
    prompts: Prompts,
    *,
    features: Tensor | str | Path | None = None,
    mask: Tensor | None = None,
    n: int = 1,
    seed: int | Sequence[int] = 0,
    steps: int | None = None,
    guidance: float | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    order: str | Order | Planner | None = None,
    edit: Edit | None = None,
) -> Asked:
    """What is asked of ``system``, by the keywords of :class:`Asking`; of an edit the picture is encoded once.

    Raises:
        UsageError: a setting out of range, or prompts, seeds and features that do not fit.
    """
    preset = system.preset
    sampling = Sampling(
        preset.sampling.temperature if temperature is None else temperature,
        preset.sampling.top_k if top_k is None else top_k,
        preset.sampling.top_p if top_p is None else top_p,
    )
    called, seeds, given = ask(system, words, prompts, n, seed, features, mask)
    values = known = None
    if edit is not None:
        known = edit.known(system.grid, system.tokenizer.factor, seeds).to(device)
        with torch.inference_mode():
            values = system.tokenizer.encode(edit.pixels.to(device, dtype))
        values = values.expand(len(seeds), *values.shape[1:])
    settings: dict[str, object] = {
        "order": order if isinstance(order, str) else "own" if order is None else "custom",
        "guidance": preset.guidance if guidance is None else guidance,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "precision": str(dtype).removeprefix("torch."),
        **({} if edit is None else {"edit": edit.what}),
        **({} if features is None else {"features": "given"}),
    }
    given = given.to(device)
    return Asked(called, seeds, given, steps, guidance, sampling, order, edit, values, known, settings)
