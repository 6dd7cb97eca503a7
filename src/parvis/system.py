"""A :class:`System` is the bundle that a paper is. Parts that do not fit raise :class:`IncompatibleParts` when it is
built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from parvis.decode.job import Decoder
from parvis.errors import IncompatibleParts
from parvis.grid import Grid
from parvis.guidance import Guidance
from parvis.model.base import Model
from parvis.model.framing import content
from parvis.planners import Around, Planner
from parvis.sampling import Sampling
from parvis.tokenizer.base import Tokenizer

Edits = Literal["any", "prefix", "none"]


@dataclass(frozen=True)
class Preset:
    """How a system is sampled when the caller says nothing: the published setting where there is one.

    Attributes:
        steps: groups of the order, which are passes where every group is asked once.
        guidance: classifier-free guidance scale; 1 means none. sampling: temperature, top-k, top-p.
    """

    steps: int
    guidance: float = 1.0
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True)
class System:
    """The parts of one published system.

    Attributes:
        name: e.g. ``lpd-l-256``.
        cite: BibTeX key fields in one line: authors, title, arXiv id.
        tokenizer: pixels <-> values.
        models: name -> model; ``main`` answers unless the decoder asks another.
        order: plans the order of an image batch.
        decoder: the algorithm box.
        guidance: scale -> guidance rule (scale of every rank).
        preset: how it is sampled by default.
        around: plans the order round known tokens; without it they are left out of the order made without them.
        edits: which known tokens it can be given: ``any`` set, a ``prefix`` of its order, or ``none``.
        classes: names of the classes by number, where they are known.
        passes_per_group: how often a decoder asks every group of the order; ``None`` where it depends on what is
            drawn.
        takes: what conditions it: ``classes`` (long [B]), ``words`` (captions) or ``features`` (of a text encoder).
    """

    name: str
    cite: str
    grid: Grid
    tokenizer: Tokenizer
    models: Mapping[str, Model]
    order: Planner
    decoder: Decoder
    guidance: Callable[[float], Guidance]
    preset: Preset
    around: Around | None = None
    edits: Edits = "any"
    takes: Literal["classes", "words", "features"] = "classes"
    classes: tuple[str, ...] = ()
    passes_per_group: int | None = 1

    def __post_init__(self) -> None:
        if "main" not in self.models:
            raise IncompatibleParts(f"{self.name}: models are {sorted(self.models)}; one of them must be called 'main'")
        if self.preset.steps < 1 or self.preset.steps > self.grid.tokens:
            raise IncompatibleParts(
                f"{self.name}: preset of {self.preset.steps} steps for {self.grid.tokens} tokens; "
                f"needs 1 to {self.grid.tokens}"
            )
        for name, model in self.models.items():
            self._check(name, model)

    @property
    def takes_any_order(self) -> bool:
        """Whether it draws in whatever order it is handed; others know only their own."""
        return self.edits == "any"

    def _check(self, name: str, model: Model) -> None:
        said = _values(model.vocabulary, model.channels)
        kept = _values(self.tokenizer.vocabulary, self.tokenizer.channels)
        if said != kept:
            raise IncompatibleParts(
                f"{self.name}: model {name!r} predicts {said} but the tokenizer has {kept}; build both with the same"
            )
        if model.grid != self.grid:
            raise IncompatibleParts(
                f"{self.name}: model {name!r} was built for the grid {model.grid.scales} but the system's is "
                f"{self.grid.scales} (t, h, w of every scale); build both with the same grid"
            )
        if (model.framing is content) != (model.view is not None):
            raise IncompatibleParts(
                f"{self.name}: the content framing and a view layer need each other; model {name!r} "
                "has only one of them"
            )
        if model.framing is content and type(self.tokenizer).view is Tokenizer.view:
            raise IncompatibleParts(
                f"{self.name}: model {name!r} asks for the coarse image so far, which {type(self.tokenizer).__name__} "
                "cannot show; use a multi-scale tokenizer"
            )


def _values(vocabulary: int, channels: int | None) -> str:
    return f"{vocabulary} codes" if channels is None else f"latents of {channels} channels"
