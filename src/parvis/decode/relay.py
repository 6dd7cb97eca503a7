"""Collaborative decoding (CoDe, arXiv 2411.17787): a large model drafts the early groups, a small one refines."""

from __future__ import annotations

from parvis.decode.job import Decoder, Job, Steps
from parvis.errors import UsageError


def relay(handoff: int) -> Decoder:
    """The model "draft" answers groups 0..handoff-1, the model "refine" all later ones.

    CoDe counts scales of a next-scale model; with another order a group is whatever the order says.
    ``handoff`` beyond the last group leaves everything to "draft".

    Raises:
        UsageError: ``handoff`` < 0.
    """
    if handoff < 0:
        raise UsageError(f"handoff is how many groups the draft model answers, at least 0; got {handoff}")

    def decode(job: Job) -> Steps:
        for group in job.groups:
            ask = job.ask(group, by="draft" if group < handoff else "refine")
            prediction = yield ask
            job.canvas.write(ask.positions, (yield job.draw(prediction, ask.positions)))

    return decode
