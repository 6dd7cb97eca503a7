"""Exponential moving average of a model's weights: what is sampled from and shipped."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from parvis.train.spread import local, whole


class Ema:
    """``average <- decay * average + (1 - decay) * weight`` after each step, in float32; buffers are copied.

    Early on the decay is at most ``(1 + step) / (10 + step)``, so that the first, random weights fade at once.
    Weights that are not trained and whole-number tensors are copied as they are.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.tensors = {k: _copy(v) for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """``step`` counts from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        old, new = [], []
        for name, value in model.state_dict().items():
            if name in trained:
                old.append(self.tensors[name])
                new.append(value.float())
            else:
                self.tensors[name].copy_(value)
        if old:
            torch._foreach_lerp_([local(t) for t in old], [local(t) for t in new], 1 - decay)

    def whole(self) -> Ema:
        """The average of a divided model with all its tensors whole. Every process must ask."""
        out = copy.copy(self)
        out.tensors = {name: whole(tensor) for name, tensor in self.tensors.items()}
        return out

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[nn.Module]:
        """Inside the block the model holds the averaged weights; afterwards its own again."""
        with kept(model):
            model.load_state_dict(self.tensors)
            yield model


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Whatever the block does to the model's tensors is undone after it."""
    own = {k: v.detach().clone() for k, v in model.state_dict().items()}
    try:
        yield
    finally:
        model.load_state_dict(own)


def _copy(value: Tensor) -> Tensor:
    return value.detach().float().clone() if value.is_floating_point() else value.detach().clone()
