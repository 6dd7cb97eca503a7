"""Speculative Jacobi decoding (SJD, arXiv 2410.01699) with coupled draws (the idea of MC-SJD, arXiv 2510.24211).

A window of ranks is asked at once, each row reading the current guesses before it; the longest prefix that did not
change is accepted. The uniform of a position is fixed by (seed, position), so a value depends only on what its row
read: a row whose guesses before it were all right draws the very value that one-by-one decoding draws. The result is
therefore identical to asking the ranks one at a time, not merely equal in law.
"""

from __future__ import annotations

import torch
from torch import Tensor

from parvis.decode.job import Decoder, Job, Steps
from parvis.errors import UsageError


def jacobi(window: int = 16) -> Decoder:
    """Exact one-by-one decoding in fewer passes; group sizes of the order are ignored, only its ranks count.

    A batch moves in lockstep by its least accepted prefix, so exactness holds for every image of it. How far to move
    decides the next pass's shape: one host-device synchronisation per pass, inherent to the algorithm.

    With a large vocabulary use ``Sampling(coupled=True)``: with the inverse CDF a small change of a flat law moves
    nearly every draw, and little is accepted. Either way one-by-one decoding with the same sampling gives this image.

    Args:
        window: how many ranks are asked per pass, at least 1 (1 = one by one).

    Raises:
        UsageError: ``window`` < 1.
    """
    if window < 1:
        raise UsageError(f"window is how many positions are asked per pass, at least 1; got {window}")

    def decode(job: Job) -> Steps:
        done, tokens = job.order.given, job.order.tokens
        guess = job.canvas.values.new_zeros(job.canvas.batch, 1)
        while done < tokens:
            guess = _fill(guess, min(window, tokens - done))
            ask = job.window(done, done + guess.shape[1], guess)
            prediction = yield ask
            drawn = yield job.draw(prediction, ask.positions)
            accepted = _accepted(drawn, guess)
            job.canvas.write(ask.positions[..., :accepted], drawn[:, :accepted])
            guess = drawn[:, min(accepted, guess.shape[1] - 1) :]
            done += accepted

    return decode


def _fill(guess: Tensor, width: int) -> Tensor:
    """Guesses [B, width]: ranks new to the window repeat the last guess (in raster order, the left neighbour)."""
    missing = width - guess.shape[1]
    return torch.cat([guess, guess[:, -1:].expand(-1, missing)], dim=1)


def _accepted(drawn: Tensor, guess: Tensor) -> int:
    """How many leading draws are final in every image: the first always is, the next if the guess before it held."""
    held = (drawn[:, :-1] == guess[:, :-1]).long().cumprod(dim=1).sum(dim=1)
    return 1 + int(held.min())
