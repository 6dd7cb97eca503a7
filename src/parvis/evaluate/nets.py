"""Feature nets by name: what ``--features`` takes, and what a record says was used.

``efficientnet-lite0`` and ``thumbnails`` (``evaluate/features.py``), ``inception`` (torch-fidelity's port of the
Inception of 2015, the net of every published FID), ``classifier:FOLDER`` (trained here, ``evaluate/classifier.py``),
``module:function`` (yours).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from parvis.errors import UnknownName, UsageError, WeightsError
from parvis.evaluate.classifier import load_classifier
from parvis.evaluate.features import FeatureNet, efficientnet_lite0, thumbnails

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d"
"""The SHA-256 of the file begins with this, as its name says."""
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION}"
VARIABLE = "PARVIS_INCEPTION"
NAMED = ("efficientnet-lite0", "thumbnails", "inception")


def find_net(name: str, device: torch.device | str = "cpu") -> FeatureNet:
    """The feature net that ``name`` stands for, see the head of this file.

    :raises UnknownName: none of that name. UsageError: a package is missing, or there is no such function.
        WeightsError: its weights are not there, or others
    """
    kind, _, rest = name.partition(":")
    if kind == "classifier" and rest:
        return load_classifier(Path(rest), device)
    if rest:
        return from_function(kind, rest)
    made: dict[str, Callable[[], FeatureNet]] = {
        "efficientnet-lite0": lambda: efficientnet_lite0(device),
        "thumbnails": thumbnails,
        "inception": lambda: inception(device),
    }
    if name not in made:
        raise UnknownName("feature net", name, (*NAMED, "classifier:FOLDER", "module:function"))
    return made[name]()


def from_function(module: str, name: str) -> FeatureNet:
    """``name`` of ``module`` (found as Python finds it, the working directory first): a :class:`FeatureNet`, or a
    function of pixels float32 [B, 3, H, W] in [-1, 1] that gives features [B, D]. It is known by the sum of its file.

    :raises UsageError: nothing of the kind there
    """
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"there is no feature net {module}:{name} ({error}); name a function of a module that can be imported here"
        ) from error
    if isinstance(found, FeatureNet):
        return found
    if not callable(found):
        raise UsageError(f"{module}:{name} is no function; it must map pixels [B, 3, H, W] to features [B, D]")
    file = inspect.getsourcefile(found) if inspect.isroutine(found) else None
    sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    return FeatureNet(f"{module}:{name}", found, sha256)


def inception(device: torch.device | str = "cpu") -> FeatureNet:
    """Inception's pooled features (D = 2048) and class probabilities, as torch-fidelity computes them.

    Needs the package and the file of weights, which is not fetched: where ``PARVIS_INCEPTION`` says, or where PyTorch
    keeps what it fetches. The file is a pickle; it is read as tensors only, and must have the recorded sum.

    :raises UsageError: torch-fidelity or torchvision is not installed. WeightsError: no such file, or another one
    """
    try:
        library = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ImportError as error:
        raise UsageError(
            f"Inception needs torch-fidelity and torchvision ({error}); `pip install torch-fidelity`, or take "
            "efficientnet-lite0, whose distances compare with none published"
        ) from error
    path = Path(os.environ.get(VARIABLE, Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION))
    if not path.is_file():
        raise WeightsError(
            f"Inception's weights are not at {path}; fetch {INCEPTION_URL} to there, or say in {VARIABLE} where "
            "they are"
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if not sha256.startswith(INCEPTION_SHA256):
        raise WeightsError(
            f"{path}: sha256 {sha256}, the recorded file's begins with {INCEPTION_SHA256}; fetch it again"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    with tempfile.TemporaryDirectory() as folder:  # the library would unpickle whatever the file holds
        plain = Path(folder) / "weights.pth"
        torch.save(state, plain)
        model = library.FeatureExtractorInceptionV3("inception", ["2048"], str(plain))
    model.to(device)
    head: Tensor = model.fc.weight

    def extract(pixels: Tensor) -> Tensor:
        values = ((pixels.to(device) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        features: Tensor = model(values)[0]
        return features

    def classify(features: Tensor) -> Tensor:
        """Without the biases of the last layer, as the score was first computed."""
        return (features.to(device) @ head.T).softmax(1).cpu()

    return FeatureNet("inception", extract, sha256, metadata.version("torch-fidelity"), 0, classify)
