"""Batches of pictures that are cut anew each time they are seen, and encoded inside the training step (VAR).

Which pictures, and where they are cut, follows from (seed, step). Decoding runs in threads, one step ahead.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parvis.data.images import ImageSet, as_pixels
from parvis.tokenizer.base import Tokenizer
from parvis.train.data import Batches, Picker, shuffled
from parvis.train.seeds import generator

Decoded = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Fresh:
    """Pictures to train on without a code cache."""

    images: ImageSet

    def __len__(self) -> int:
        return len(self.images)

    @property
    def identity(self) -> str:
        """Changes with the list of pictures, their classes and the resolution; what is in the files is not read."""
        digest = hashlib.sha256(f"anywhere {self.images.resolution}".encode())
        for name, picture in zip(self.images.names, self.images.pictures, strict=True):
            digest.update(f"{name}\0{picture.label}\n".encode())
        return digest.hexdigest()[:32]

    def batches(self, batch: int, seed: int = 0, pick: Picker | None = None, threads: int | None = None) -> Batches:
        """``{"pixels": float [B, 3, S, S] in [-1, 1], "label": long [B]}``; every picture once an epoch unless ``pick``
        says otherwise. Without classes all labels are 0."""
        pick = pick or shuffled(len(self), batch, seed)
        labels = self.images.labels() if self.images.classes else torch.zeros(len(self), dtype=torch.long)
        pool = ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1))
        ahead: dict[int, list[Future[Decoded]]] = {}

        def begin(step: int) -> list[Future[Decoded]]:
            index = pick(step).tolist()
            places = torch.rand(len(index), 2, generator=generator(seed, "crop", step), dtype=torch.float64).tolist()
            return [pool.submit(self.images.cut_anywhere, i, *place) for i, place in zip(index, places, strict=True)]

        def batches(step: int) -> dict[str, Tensor]:
            pictures = ahead.pop(step, None) or begin(step)
            ahead.clear()
            ahead[step + 1] = begin(step + 1)
            return {"pixels": as_pixels(np.stack([one.result() for one in pictures])), "label": labels[pick(step)]}

        return batches


def encoded(tokenizer: Tokenizer, pixels: Tensor) -> Tensor:
    """Codes or latents of a batch, in float32 whatever the step computes in: a cache's values are no others."""
    with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
        return tokenizer.encode(pixels)
