"""What the runner needs of a model, whatever is inside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import nn

from parvis.cache.store import Cache
from parvis.grid import Grid
from parvis.model.context import Condition, Context, Given
from parvis.model.feed import Gather, Question, alone
from parvis.model.framing import Framing
from parvis.model.plan import RowPlan, Rule
from parvis.predict import Prediction


class Model(nn.Module, ABC):
    """Base of the models: rows in, predictions out.

    Attributes:
        grid: the positions it was built for. framing: group sizes -> row plan. rule: who sees whom.
        condition: turns the request's condition into prefix rows.
        heads: of its attention.
        view: layer that reads what the tokenizer shows (content framing); ``None`` in the others.
        vocabulary: number of codes it predicts. channels: of the latents that it predicts instead; ``None`` for codes.
        drafts: whether QUERY rows carry the draft of their group (MaskGIT, xAR); else a group cannot be drafted.
        timed: whether a draft is noisy, at a time (xAR).
    """

    grid: Grid
    framing: Framing
    rule: Rule
    condition: Condition
    heads: int
    view: nn.Module | None
    vocabulary: int
    channels: int | None = None
    drafts: bool = False
    timed: bool = False

    def plan(self, sizes: tuple[int, ...]) -> RowPlan:
        """The row plan of an order with these group sizes, those of known groups first."""
        return self.framing(sizes, self.condition.prefix)

    def context(self, given: Given, guided: bool) -> Context:
        """The condition ``given`` (classes, words, ...) made ready; with the null condition stacked behind it when
        guided."""
        context = self.condition(given)
        if guided:
            context = context.stack(self.condition.null(given))
        return self.modulated(context)

    def modulated(self, context: Context) -> Context:
        """``context`` with what adaptive norms make of it, once per request."""
        return context

    @abstractmethod
    def cache(self, plan: RowPlan, context: Context) -> Cache:
        """An empty cache for a generation under ``plan``."""

    @abstractmethod
    def answers(self, questions: Sequence[Question], gather: Gather) -> Sequence[Prediction]:
        """The prediction of every asked rank, for every question; under guidance for the condition and, behind it,
        for the null condition.

        Args:
            gather: how the rows of the questions go through the layers: ``alone`` or ``together``.
        """

    def answer(self, question: Question) -> Prediction:
        """The answer to one question."""
        (prediction,) = self.answers((question,), alone)
        return prediction
