"""What a caller asks for, checked against the system before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from parvis.errors import UsageError
from parvis.model.context import Features, Given
from parvis.sampling import Sampling
from parvis.system import System


@dataclass(frozen=True, eq=False)
class Request:
    """A batch of B images.

    Attributes:
        given: what conditions them: classes long [B], words long [B, T], or text features.
        seeds: one whole number per image; an image depends on its own seed alone, not on its company.
        steps, guidance, sampling: as the system's preset where ``None``. Guidance 1 means none.
        values, known: known tokens (editing), long [B, N] and bool [B, N]; every image must know equally many.
    """

    given: Given
    seeds: tuple[int, ...]
    steps: int | None = None
    guidance: float | None = None
    sampling: Sampling | None = None
    values: Tensor | None = None
    known: Tensor | None = None

    @property
    def batch(self) -> int:
        return len(self.seeds)

    def check(self, system: System) -> None:
        """Raises UsageError where this request does not fit ``system``."""
        rows = self.given.values.shape[0] if isinstance(self.given, Features) else self.given.shape[0]
        if rows != self.batch:
            raise UsageError(f"{rows} conditions but {self.batch} seeds; give one seed per image")
        tokens = system.grid.tokens
        if self.steps is not None and not 1 <= self.steps <= tokens:
            raise UsageError(f"steps is {self.steps}; {system.name} has {tokens} tokens, so give 1 to {tokens}")
        if (self.values is None) != (self.known is None):
            raise UsageError("known tokens need both their values and the mask that says which they are")
        if self.known is not None and self.values is not None:
            want = (self.batch, tokens)
            for what, tensor in (("values", self.values), ("known", self.known)):
                if tuple(tensor.shape) != want:
                    raise UsageError(f"{what} has shape {tuple(tensor.shape)}; expected {want}, one entry per token")
            if system.edits == "none":
                raise UsageError(
                    f"{system.name} cannot be given known tokens: its order is fixed and starts everywhere at once; "
                    "use a system that edits, such as lpd"
                )
