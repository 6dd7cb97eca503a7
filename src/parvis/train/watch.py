"""What is looked at while a model trains: a sheet with fixed seeds, and a distance on a small sample.

Made to be handed to :func:`parvis.train.fit` as ``on_sample``. Pictures and numbers depend on the weights and the
requests' seeds alone, so two sheets of one run differ by what was learned between them, and watching changes nothing in
the training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from parvis.errors import OutputError, UsageError
from parvis.evaluate.features import FeatureNet, features_of, thumbnails
from parvis.evaluate.frechet import Frechet, Projection, compare, project
from parvis.generate import generate, pixels
from parvis.output import save_png, sheet, to_images, to_uint8
from parvis.request import Request
from parvis.system import System
from parvis.train.report import Seen


@dataclass(frozen=True, eq=False)
class Distance:
    """The Frechet distance of what is drawn for ``requests`` from real pictures.

    With some hundred pictures it tells the early course of a run, no more: it always stands with its N, its feature net
    and the distance of two halves of the real pictures, and compares with nothing that was made another way.

    Attributes:
        real: features of the real pictures, [N, D]. requests: what is drawn, seeds and all.
        net: the feature net. projection: to the few dimensions that N can fix.
    """

    real: Tensor
    requests: tuple[Request, ...]
    net: FeatureNet
    projection: Projection

    def __call__(self, system: System) -> Frechet:
        drawn = [draw(system, request) for request in self.requests]
        return compare(self.real, features_of(np.concatenate(drawn), self.net), self.projection, self.net.name)


def distance(
    real: npt.NDArray[np.uint8], requests: Sequence[Request], net: FeatureNet | None = None, dimensions: int = 16
) -> Distance:
    """A :class:`Distance` from pictures uint8 [N, H, W, 3].

    Args:
        requests: of the kind of the real pictures (the same conditions, in the same shares), with seeds of their own.
        net: thumbnails of 16 x 16 pixels unless given, which need no weights: colours and rough shapes.
        dimensions: principal directions of the real pictures; well below the counts of both sets.

    :raises UsageError: not more pictures than dimensions, real or drawn
    """
    net = net or thumbnails()
    drawn = sum(request.batch for request in requests)
    if drawn <= dimensions:
        raise UsageError(f"{drawn} drawn pictures give no distance in {dimensions} dimensions; draw more or take fewer")
    features = features_of(real, net)
    return Distance(features, tuple(requests), net, project(features, dimensions))


@dataclass(frozen=True, eq=False)
class Watch:
    """``fit(..., on_sample=Watch(system, request, captions, out))``: the model that trains must be ``system``'s.

    Writes ``out/sheets/STEP.png`` and, with a ``distance``, a line in ``out/distances.jsonl`` that says all that
    belongs to the number; both are shown in TensorBoard and other trackers.

    Attributes:
        request: what the sheet shows, with fixed seeds. captions: one for each of its pictures.
    """

    system: System
    request: Request
    captions: Sequence[str]
    out: Path
    distance: Distance | None = None

    def __call__(self, model: nn.Module, step: int) -> Seen:
        if all(part is not model for part in self.system.models.values()):
            raise UsageError(f"the model that trains is not in the system {self.system.name} that is watched")
        canvas, _ = generate(self.system, self.request)
        picture = sheet(to_images(pixels(self.system, canvas)), self.captions)
        save_png(self.out / "sheets" / f"{step:06d}.png", picture)
        values: dict[str, float] = {}
        if self.distance is not None:
            found = self.distance(self.system)
            print(f"step {step}: distance {found}", flush=True)
            self._note(step, found)
            values = {"frechet": found.distance, "frechet_floor": found.floor.distance, "frechet_n": found.fake}
        return Seen(values, {"samples": picture})

    def _note(self, step: int, found: Frechet) -> None:
        try:
            with (self.out / "distances.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": step, **asdict(found)}) + "\n")
        except OSError as error:
            raise OutputError(f"{self.out / 'distances.jsonl'} could not be written: {error}") from error


def draw(system: System, request: Request) -> npt.NDArray[np.uint8]:
    """What ``system`` draws for one request, uint8 [B, H, W, 3]."""
    canvas, _ = generate(system, request)
    made: npt.NDArray[np.uint8] = to_uint8(pixels(system, canvas)).cpu().numpy()
    return made
