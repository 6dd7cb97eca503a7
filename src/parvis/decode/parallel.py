"""Parallel decoding: one pass per group.

The decoder of LPD, PAR, NAR, RandAR, ARPG (groups of positions), of VAR, FlexVAR and Infinity (groups are scales), and
of raster decoding (groups of one). What differs between them is data: the order and the model's framing.
"""

from __future__ import annotations

from parvis.decode.job import Job, Steps


def parallel(job: Job) -> Steps:
    """Ask every group once; its values are drawn independently given all earlier groups."""
    for group in job.groups:
        ask = job.ask(group)
        prediction = yield ask
        job.canvas.write(ask.positions, (yield job.draw(prediction, ask.positions)))
