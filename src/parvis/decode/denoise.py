"""Denoising group by group: every group starts as noise and is asked several times (xAR, arXiv 2502.20388)."""

from __future__ import annotations

from parvis.decode.job import Decoder, Job, Steps
from parvis.errors import UsageError


def denoise(times: tuple[tuple[float, float], ...]) -> Decoder:
    """Ask every group once for each of ``times``; the draft of a pass is the sample of the pass before.

    Draw 0 is the noise that a group starts from, draw i + 1 what pass i = 0.. adds. A group is written once, when
    clean.

    Args:
        times: (from, to) of every pass, 1 = noise and 0 = clean: see ``flow.times``.

    Raises:
        UsageError: the times do not lead from 1 to 0.
    """
    joints = [time for pair in times for time in pair]
    if joints[:1] != [1.0] or joints[-1:] != [0.0] or joints[1:-1:2] != joints[2::2]:
        raise UsageError(f"times lead from 1 to 0, each going on where the last one ended; got {times}")

    def decode(job: Job) -> Steps:
        channels = job.canvas.values.shape[-1]
        for group in job.groups:
            positions = job.order.group(group)
            draft = job.noise.normal(positions, 0, channels)
            for draw, time in enumerate(times, start=1):
                prediction = yield job.ask(group, draft=draft, time=time)
                draft = yield job.draw(prediction, positions, draw)
            job.canvas.write(positions, draft)

    return decode
