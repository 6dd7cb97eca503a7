"""What a decoder works on (:class:`Job`), and its two messages: a question (:class:`Pass`) and a :class:`Draw`.

Legend: B images, N positions, n asked now, C channels; rank = place in the order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from parvis.canvas import Canvas
from parvis.noise import Noise
from parvis.order import Order
from parvis.predict import Prediction
from parvis.sampling import Sampling


@dataclass(frozen=True, eq=False)
class Pass:
    """A question: which law have the values at these positions?

    Args:
        group: which group of the order is asked, or None for a window of ranks.
        start, stop: the ranks asked, start <= rank < stop.
        positions: long [n] or [B, n]: their positions.
        draft: the current guess at those positions, long [B, n] (-1 = masked) or float [B, n, C]. In a window, the row
            of a rank sees the drafts of earlier ranks only; in a group, the drafts of the whole group.
        time: of the draft, and the time to which the answer is to bring it (0 = clean, 1 = noise); None = no time.
        by: which model answers.
        scale: guidance of every asked rank, float32 [n]; None = unguided.
    """

    group: int | None
    start: int
    stop: int
    positions: Tensor
    draft: Tensor | None = None
    time: tuple[float, float] | None = None
    by: str = "main"
    scale: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Draw:
    """A wish: values at ``positions`` ([n] or [B, n]) from the law of ``prediction``; the ``draw``-th of many. Who
    drives the decoder may draw for several jobs at once."""

    prediction: Prediction
    positions: Tensor
    noise: Noise
    sampling: Sampling
    draw: int = 0

    def values(self) -> Tensor:
        """Codes [B, n] or latents [B, n, C]."""
        return self.prediction.sample(self.noise, self.positions, self.sampling, self.draw)


@dataclass(eq=False)
class Job:
    """One generation: where to, in what order, with which randomness.

    Args:
        order: which positions are asked, in which groups.
        canvas: where values are written; the positions of the order's given ranks are already known.
        noise: one seed per image of the canvas.
        sampling: how values are drawn.
        scales: guidance by rank, float32 [N], on the canvas's device; None = unguided.
    """

    order: Order
    canvas: Canvas
    noise: Noise
    sampling: Sampling
    scales: Tensor | None = None

    @property
    def groups(self) -> range:
        """Indices of the groups to ask, in order."""
        return range(len(self.order.sizes))

    def ask(
        self, group: int, by: str = "main", draft: Tensor | None = None, time: tuple[float, float] | None = None
    ) -> Pass:
        """The pass that asks a whole group."""
        start, stop = self.order.bounds[group : group + 2]
        return self._pass(group, start, stop, draft, time, by)

    def window(self, start: int, stop: int, draft: Tensor | None, by: str = "main") -> Pass:
        """The pass that asks the ranks start..stop-1, each of which sees the drafts before it."""
        return self._pass(None, start, stop, draft, None, by)

    def draw(self, prediction: Prediction, positions: Tensor, draw: int = 0) -> Draw:
        """The wish for values of this job's noise, under its sampling."""
        return Draw(prediction, positions, self.noise, self.sampling, draw)

    def _pass(
        self,
        group: int | None,
        start: int,
        stop: int,
        draft: Tensor | None,
        time: tuple[float, float] | None,
        by: str,
    ) -> Pass:
        scale = None if self.scales is None else self.scales[start:stop]
        return Pass(group, start, stop, self.order.positions[..., start:stop], draft, time, by, scale)


Steps = Generator[Pass | Draw, Any, None]
"""A running decoder: a pass is answered with a prediction, a draw with values."""

Decoder = Callable[[Job], Steps]
"""The algorithm box of a paper: yields passes and draws, is sent predictions and values, writes the canvas."""


def proceed(process: Steps, answer: Any = None) -> Pass | None:
    """Send the answer to the last pass (``None`` to begin), make the draws that are wished for; the next pass, or
    ``None`` at the end."""
    try:
        message = process.send(answer)
        while isinstance(message, Draw):
            message = process.send(message.values())
    except StopIteration:
        return None
    return message
