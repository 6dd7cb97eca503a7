"""A small classifier that is trained here, for pictures that no packaged net knows: grey ones, small ones, drawings.

Its features measure what tells the classes apart, and its probabilities say whether a picture drawn for a class shows
it. Legend: B pictures, S pixels per side, C channels, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.errors import DataError, TrainingError, UsageError, WeightsError
from parvis.evaluate.features import FeatureNet, resized
from parvis.meta import without_memory
from parvis.weights.config import FolderConfig
from parvis.weights.folder import MODEL_FILE, expectation, load_config, load_tensors, save_folder

KIND = "classifier"
Array = npt.NDArray[np.uint8]


class Classifier(nn.Module):
    """Three stages of two 3 x 3 convolutions, each half the size and twice the ``channels`` of the one before; the mean
    of the last map is the features (D = 4 ``channels``), a linear layer gives K scores."""

    def __init__(self, side: int, classes: int, channels: int = 32) -> None:
        super().__init__()
        self.side, self.classes, self.channels = side, classes, channels
        stages, before = [], 3
        for width in (channels, 2 * channels, 4 * channels):
            convolutions = [nn.Conv2d(a, width, 3, padding=1, bias=False) for a in (before, width)]
            parts = [part for one in convolutions for part in (one, nn.BatchNorm2d(width), nn.ReLU())]
            stages.append(nn.Sequential(*parts))
            before = width
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(before, classes)

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """The last map of every stage, [B, C, S, S], [B, 2C, S/2, S/2], [B, 4C, S/4, S/4]."""
        found: list[Tensor] = []
        for stage in self.stages:
            found.append(stage(F.max_pool2d(found[-1], 2) if found else pixels))
        return found

    def features(self, pixels: Tensor) -> Tensor:
        """[B, D] of pixels [B, 3, S, S] in [-1, 1]."""
        return self.maps(pixels)[-1].mean((2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(pixels))
        return scores


@dataclass(frozen=True)
class Training:
    """How it is trained: AdamW, the rate falling to 0 along a cosine, pictures shifted by up to ``shift`` pixels."""

    epochs: int = 4
    batch: int = 128
    rate: float = 3e-3
    shift: int = 2
    channels: int = 32
    seed: int = 0


def train(
    images: Array,
    labels: npt.NDArray[np.int64],
    how: Training | None = None,
    progress: Callable[[int, int, float], object] | None = None,
) -> Classifier:
    """A classifier of pictures uint8 [N, S, S, 3] with ``labels`` 0 to K - 1, long [N].

    Args:
        progress: called after every step with its number, how many there will be, and the loss.

    :raises DataError: pictures that are not square, too small, or fewer than two classes.
        TrainingError: the loss is not finite
    """
    how = how or Training()
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[1] < 8 or len(images) != len(labels):
        raise DataError(
            f"a classifier is trained on square pictures of 8 pixels or more, a label for each; got "
            f"{list(images.shape)} and {len(labels)} labels"
        )
    classes = int(labels.max()) + 1
    if classes < 2 or int(labels.min()) < 0:
        raise DataError(f"labels from {int(labels.min())} to {classes - 1} are not two classes or more, counted from 0")
    generator = torch.Generator().manual_seed(how.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        model = Classifier(images.shape[1], classes, how.channels)
    optimizer = torch.optim.AdamW(model.parameters(), how.rate, weight_decay=1e-2)
    per_epoch = -(-len(images) // how.batch)
    total = per_epoch * how.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(total, 1))
    targets = torch.from_numpy(labels)
    for step in range(total):
        if step % per_epoch == 0:
            order = torch.randperm(len(images), generator=generator)
        rows = order[step % per_epoch * how.batch :][: how.batch]
        if len(rows) < 2:  # a batch norm of one picture means nothing
            continue
        pixels = _shifted(_pixels(images[rows.numpy()]), how.shift, generator)
        loss = F.cross_entropy(model(pixels), targets[rows], label_smoothing=0.05)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(f"the classifier's loss is {loss.item()} at step {step}; train with a lower rate")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, total, loss.item())
    return model.eval().requires_grad_(False)


def accuracy(model: Classifier, images: Array, labels: npt.NDArray[np.int64], batch: int = 256) -> float:
    """The share of pictures whose class it names."""
    hits = 0
    with torch.inference_mode():
        for low in range(0, len(images), batch):
            found = model(_pixels(images[low : low + batch])).argmax(1)
            hits += int((found == torch.from_numpy(labels[low : low + batch])).sum())
    return hits / max(len(images), 1)


def save_classifier(folder: Path, model: Classifier, about: dict[str, str] | None = None) -> None:
    """Write it as a model folder, whole or not at all."""
    arguments = {"side": model.side, "classes": model.classes, "channels": model.channels}
    save_folder(folder, FolderConfig(KIND, arguments, about=about or {}), {MODEL_FILE: model.state_dict()})


def load_classifier(folder: Path, device: torch.device | str = "cpu") -> FeatureNet:
    """The feature net of a folder that :func:`save_classifier` wrote.

    :raises WeightsError: no such folder, damaged, or of something else
    """
    config = load_config(folder)
    if config.system != KIND:
        raise WeightsError(f"{folder} holds a {config.system!r} system, not a classifier")
    try:
        with without_memory():
            model = Classifier(**config.arguments)  # type: ignore[arg-type]
    except TypeError as error:
        raise WeightsError(f"{folder}: config.json does not describe a classifier: {error}") from error
    model.load_state_dict(load_tensors(folder, expectation(model), config=config), assign=True)
    return as_net(model, config.files[MODEL_FILE].sha256, device)


def as_net(model: Classifier, sha256: str = "", device: torch.device | str = "cpu") -> FeatureNet:
    """``model`` as a feature net; pictures of another size are scaled to its own."""
    model = model.to(device).eval().requires_grad_(False)

    def classify(features: Tensor) -> Tensor:
        scores: Tensor = model.head(features.to(device))
        return scores.softmax(1).cpu()

    return FeatureNet(
        f"classifier of {model.classes} classes", lambda pixels: model.features(resized(pixels.to(device), model.side)),
        sha256, "1", model.side, classify, lambda pixels: model.maps(resized(pixels.to(device), model.side)),
    )  # fmt: skip


def named(probabilities_NK: Tensor, labels: npt.NDArray[np.int64]) -> float:
    """The share of pictures in which the classifier sees the class they were drawn for.

    :raises UsageError: labels beyond the classes it knows, or another number
    """
    if len(probabilities_NK) != len(labels) or int(labels.max()) >= probabilities_NK.shape[1]:
        raise UsageError(
            f"{len(labels)} labels up to {int(labels.max())} do not fit {len(probabilities_NK)} pictures of "
            f"{probabilities_NK.shape[1]} classes"
        )
    return float((probabilities_NK.argmax(1).cpu() == torch.from_numpy(labels)).double().mean())


def _pixels(images: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _shifted(pixels: Tensor, by: int, generator: torch.Generator) -> Tensor:
    """Every picture moved by -by to by pixels along both axes, its edge repeated."""
    if by == 0:
        return pixels
    count, _, height, width = pixels.shape
    wide = F.pad(pixels, (by,) * 4, mode="replicate")
    y, x = torch.randint(2 * by + 1, (2, count), generator=generator)
    rows = (y[:, None] + torch.arange(height))[:, None, :, None]
    columns = (x[:, None] + torch.arange(width))[:, None, None, :]
    return wide[torch.arange(count)[:, None, None, None], torch.arange(3)[None, :, None, None], rows, columns]
