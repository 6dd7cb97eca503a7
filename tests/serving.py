"""Requests for an engine of toys, and what they give when they run alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

import toys
from parvis.engine.engine import Engine
from parvis.engine.ticket import Done, Step, Ticket
from parvis.engine.work import Work
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import System
from toys import toy

CPU = torch.device("cpu")


@dataclass
class Drawer:
    system: System
    device: torch.device = CPU


def request(system: System, chance: int) -> Request:
    """A request among many: prompt, seed, steps, guidance, sampling and known tokens differ."""
    tokens, steps = system.grid.tokens, None
    if system.edits == "any" and system.passes_per_group == 1 and chance % 3:
        steps = 2 + chance % (tokens - 2)
    condition = toys.given(system, 7)
    one = slice(chance % 7, chance % 7 + 1)
    asked = Request(condition[one], (chance,), steps, (1.0, 2.0, None)[chance % 3])
    if chance % 4 == 1 and system.tokenizer.channels is None:
        asked = Request(condition[one], (chance,), steps, 1.5, Sampling(0.9, top_k=7, top_p=0.9))
    if system.edits == "any" and chance % 5 == 2:
        known = torch.zeros(1, tokens, dtype=torch.bool)
        known[:, chance % 3 : tokens // 2 : 2] = True
        asked = Request(condition[one], (chance,), values=kept(system, chance), known=known)
    return asked


def kept(system: System, chance: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(chance)
    if system.tokenizer.channels is None:
        return torch.randint(system.tokenizer.vocabulary, (1, system.grid.tokens), generator=generator)
    return torch.randn(1, system.grid.tokens, system.tokenizer.channels, generator=generator)


def drawn(ticket: Ticket) -> tuple[torch.Tensor, bytes]:
    """The canvas and the picture."""
    events = ticket.poll()
    steps, done = [event for event in events if isinstance(event, Step)], events[-1]
    assert isinstance(done, Done), done
    return steps[-1].canvas.values, done.image.tobytes()


@lru_cache(maxsize=512)
def alone(name: str, chance: int) -> tuple[torch.Tensor, bytes]:
    engine = Engine({name: Drawer(toy(name))})
    ticket = engine.submit(Work(name, request(toy(name), chance)))
    while engine.step():
        pass
    return drawn(ticket)
