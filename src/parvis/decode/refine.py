"""Masked refinement inside groups (MaskGIT, arXiv 2202.04200; inside the scales: HMAR, arXiv 2506.04421)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from parvis.decode.job import Decoder, Job, Steps
from parvis.errors import UsageError
from parvis.noise import CHOICE


def kept(size: int, steps: int) -> tuple[int, ...]:
    """How many values of a group stay after each pass: MaskGIT's cosine share, at least one more every pass.

    After pass t = 1..T there are ``size - floor(size cos(pi t / 2T))``, kept within what leaves every pass something
    to do; the last is ``size``. A group smaller than ``steps`` takes ``size`` passes.
    """
    steps = min(steps, size)
    shares: list[int] = []
    for t in range(1, steps + 1):
        share = size - math.floor(size * math.cos(math.pi / 2 * t / steps) + 1e-9)
        least = shares[-1] + 1 if shares else 1
        shares.append(max(least, min(share, size - (steps - t))))
    return tuple(shares)


def refine(steps: int, temperature: float = 0.0) -> Decoder:
    """Ask every group ``steps`` times: keep the most confident values, mask and ask the others again.

    The draft of a pass holds the kept values and -1 where masked. Confidence is the log probability of the drawn
    value plus, in pass t = 1..T, ``temperature`` (1 - t / T) times a Gumbel number (MaskGIT's released sampler: 4.5);
    pass t draws with draw t, so a value asked again is drawn afresh. A value is written in the pass that keeps it.

    Raises:
        UsageError: ``steps`` < 1, ``temperature`` < 0.
    """
    if steps < 1 or not temperature >= 0:
        raise UsageError(
            f"refinement takes at least 1 step at a temperature of at least 0; got {steps} and {temperature}"
        )

    def decode(job: Job) -> Steps:
        for group in job.groups:
            start, stop = job.order.bounds[group : group + 2]
            positions = job.order.group(group)
            draft = job.canvas.values.new_full((job.canvas.batch, stop - start), -1)
            before, shares = 0, kept(stop - start, steps)
            for draw, keep in enumerate(shares):
                prediction = yield job.ask(group, draft=draft)
                values = torch.where(draft < 0, (yield job.draw(prediction, positions, draw)), draft)
                confidence = prediction.log_prob(values)
                if temperature and keep < stop - start:
                    uniform = job.noise.uniform(positions, CHOICE + draw).clamp(1e-7, 1 - 1e-7)
                    confidence = confidence - temperature * (1 - (draw + 1) / len(shares)) * (-uniform.log()).log()
                best_Bn = _surest(confidence.masked_fill(draft >= 0, math.inf))[:, before:keep]
                surest_Bn = values.gather(1, best_Bn)
                draft = draft.scatter(1, best_Bn, surest_Bn)
                job.canvas.write(positions.expand_as(draft).gather(1, best_Bn), surest_Bn)
                before = keep

    return decode


def _surest(confidence: Tensor) -> Tensor:
    """The places of ``confidence [B, n]`` by value, the highest first; of equals the first."""
    return confidence.argsort(dim=1, descending=True, stable=True)
