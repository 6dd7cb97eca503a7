"""What a caller asks for, checked against the system before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.errors import IncompatibleParts, UsageError
from parvis.model.context import Features, Given
from parvis.planners import Planner
from parvis.sampling import Sampling
from parvis.system import System


@dataclass(frozen=True, eq=False)
class Request:
    """A batch of B images.

    Attributes:
        given: what conditions them: classes long [B], words long [B, T], or text features.
        seeds: one whole number per image; an image depends on its own seed alone, not on its company.
        steps, guidance, sampling: as the system's preset where ``None``. Guidance 1 means none.
        order: plans the order in place of the system's own; only for systems that take any.
        values, known: known tokens (editing), codes long [B, N] or latents float32 [B, N, C], and bool [B, N]; every
            image must know equally many.
    """

    given: Given
    seeds: tuple[int, ...]
    steps: int | None = None
    guidance: float | None = None
    sampling: Sampling | None = None
    values: Tensor | None = None
    known: Tensor | None = None
    order: Planner | None = None

    @property
    def batch(self) -> int:
        return len(self.seeds)

    def check(self, system: System) -> None:
        """Raises UsageError where this request does not fit ``system``."""
        for model in system.models.values():
            model.condition.check(self.given)
        rows = self.given.values.shape[0] if isinstance(self.given, Features) else self.given.shape[0]
        if rows != self.batch or not rows:
            raise UsageError(
                f"{rows} conditions and {self.batch} seeds; give one seed per image, and at least one image"
            )
        tokens = system.grid.tokens
        if self.steps is not None and not 1 <= self.steps <= tokens:
            raise UsageError(f"steps is {self.steps}; {system.name} has {tokens} tokens, so give 1 to {tokens}")
        if self.order is not None and not system.takes_any_order:
            raise IncompatibleParts(
                f"{system.name} takes one order only, its own, which its weights were trained for; leave the order "
                "out, or use a model that takes any, such as emoji"
            )
        how = self.sampling
        if system.tokenizer.channels is not None and how is not None and (how.top_k or how.top_p < 1 or how.coupled):
            raise UsageError(
                f"{system.name} draws latents, not codes: top-k, top-p and coupled draws mean nothing there; set "
                "only the temperature"
            )
        if (self.values is None) != (self.known is None):
            raise UsageError("known tokens need both their values and the mask that says which they are")
        if self.known is not None and self.values is not None:
            self._check_known(system, self.values, self.known)

    def _check_known(self, system: System, values: Tensor, known: Tensor) -> None:
        tokens, channels = (self.batch, system.grid.tokens), system.tokenizer.channels
        shape, kind = (tokens, torch.long) if channels is None else ((*tokens, channels), torch.float32)
        for what, tensor, want, dtype in (("values", values, shape, kind), ("known", known, tokens, torch.bool)):
            if tuple(tensor.shape) != want or tensor.dtype != dtype:
                got = f"{tensor.dtype} {tuple(tensor.shape)}"
                raise UsageError(f"{what} is {dtype} {want}, one entry per token; got {got}")
        codes = system.tokenizer.vocabulary
        if channels is None and bool((known & ((values < 0) | (values >= codes))).any()):
            raise UsageError(f"known values are codes from 0 to {codes - 1}; got others, from another tokenizer?")
        if channels is not None and not bool(values[known].isfinite().all()):
            raise UsageError("known latents are finite numbers; got NaN or infinity")
        if system.edits == "none":
            raise UsageError(
                f"{system.name} cannot be given known tokens: its order is fixed and starts everywhere at once; "
                "use a system that edits, such as lpd"
            )
