"""Masked refinement inside groups (MaskGIT, arXiv 2202.04200; inside the scales: HMAR, arXiv 2506.04421)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from parvis.decode.job import Decoder, Job, Steps
from parvis.errors import UsageError


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


def refine(steps: int) -> Decoder:
    """Ask every group ``steps`` times: keep the most confident values, mask and ask the others again.

    The draft of a pass holds the kept values and -1 where masked. Confidence is the law's probability of the drawn
    value; pass t draws with draw t, so a value asked again is drawn afresh. A group is written once, when complete.

    Raises:
        UsageError: ``steps`` < 1.
    """
    if steps < 1:
        raise UsageError(f"steps is how many passes a group takes, at least 1; got {steps}")

    def decode(job: Job) -> Steps:
        for group in job.groups:
            start, stop = job.order.bounds[group : group + 2]
            draft = job.canvas.values.new_full((job.canvas.batch, stop - start), -1)
            for draw, keep in enumerate(kept(stop - start, steps)):
                ask = job.ask(group, draft=draft)
                prediction = yield ask
                fresh = prediction.sample(job.noise, ask.positions, job.sampling, draw)
                values = torch.where(draft < 0, fresh, draft)
                draft = _mask(values, prediction.log_prob(values).masked_fill(draft >= 0, math.inf), keep)
            job.canvas.write(job.ask(group).positions, draft)

    return decode


def _mask(values: Tensor, confidence: Tensor, keep: int) -> Tensor:
    """``values [B, n]`` with -1 for all but the ``keep`` most confident of each image (the first of equals stays)."""
    best = confidence.argsort(dim=1, descending=True, stable=True)[:, :keep]
    return torch.full_like(values, -1).scatter(1, best, values.gather(1, best))
