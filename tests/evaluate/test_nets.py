"""Feature nets by name: a classifier trained here, functions of one's own, Inception where it is."""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from parvis.errors import DataError, UnknownName, UsageError, WeightsError
from parvis.evaluate import nets
from parvis.evaluate.classifier import Training, accuracy, as_net, load_classifier, named, save_classifier, train
from parvis.evaluate.features import features_of
from parvis.evaluate.nets import find_net

Sets = tuple[np.ndarray, np.ndarray]


def shapes(count: int, seed: int) -> Sets:
    """Grey pictures of a bar that lies, a bar that stands, and a square, anywhere, under noise."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 60, (count, 16, 16)), rng.integers(0, 3, count)
    for image, label in zip(images, labels, strict=True):
        height, width = ((2, 9), (9, 2), (5, 5))[label]
        y, x = rng.integers(0, 16 - height), rng.integers(0, 16 - width)
        image[y : y + height, x : x + width] += 150
    return np.repeat(images[..., None], 3, 3).astype(np.uint8), labels


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return train(*shapes(500, 0), Training(epochs=4, batch=40, channels=8))


def test_a_classifier_learns_and_its_training_is_repeatable(trained: nn.Module) -> None:
    held = shapes(200, 1)
    assert accuracy(trained, *held) > 0.9
    state = torch.random.get_rng_state()
    few = shapes(100, 2)
    one, two = (train(*few, Training(epochs=1, channels=4)) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_a_classifier_is_a_feature_net_that_says_what_it_is(trained: nn.Module, tmp_path: Path) -> None:
    save_classifier(tmp_path / "net", trained, {"data": "bars"})
    net = find_net(f"classifier:{tmp_path / 'net'}")
    images, labels = shapes(80, 3)
    features = features_of(images, net)
    assert features.shape == (80, 32) and net.classify is not None and net.layers is not None
    probabilities = net.classify(features)
    assert torch.allclose(probabilities.sum(1), torch.ones(80)) and named(probabilities, labels) > 0.9
    assert torch.equal(features, features_of(images, as_net(trained)))
    assert net.identity["side"] == 16 and len(str(net.identity["sha256"])) == 64
    assert [list(m.shape[1:]) for m in net.layers(torch.zeros(2, 3, 64, 64))] == [[8, 16, 16], [16, 8, 8], [32, 4, 4]]
    with pytest.raises(UsageError, match="do not fit"):
        named(probabilities, labels + 7)
    file = tmp_path / "net" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError):
        load_classifier(tmp_path / "net")


def test_a_folder_of_something_else_is_no_classifier(models: Path) -> None:
    with pytest.raises(WeightsError, match="not a classifier"):
        find_net(f"classifier:{models / 'toy'}")


@pytest.mark.parametrize("labels", [np.zeros(9, np.int64), np.arange(9) - 1, np.arange(8)])
def test_what_is_no_classification_is_refused(labels: np.ndarray) -> None:
    with pytest.raises(DataError):
        train(np.zeros((9, 8, 8, 3), np.uint8), labels)


def test_a_function_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = "def means(pixels):\n    return pixels.mean((2, 3))\nnothing = 3\n"
    (tmp_path / "own_net.py").write_text(text)
    net = find_net("own_net:means")
    assert features_of(np.full((2, 4, 4, 3), 255, np.uint8), net).tolist() == [[1, 1, 1]] * 2
    assert net.identity == {
        "name": "own_net:means", "version": "", "sha256": hashlib.sha256(text.encode()).hexdigest(), "side": 0,
    }  # fmt: skip
    for name, message in (
        ("own_net:more", "no feature net"),
        ("no_such:f", "no feature net"),
        ("own_net:nothing", "no function"),
    ):
        with pytest.raises(UsageError, match=message):
            find_net(name)
    with pytest.raises(UnknownName, match="inception"):
        find_net("incepton")


class Fake(nn.Module):
    """What of torch-fidelity's Inception is used."""

    def __init__(self, name: str, features: list[str], path: str) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)
        self.load_state_dict(torch.load(path, weights_only=True))
        assert features == ["2048"]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        assert x.dtype == torch.uint8
        return (x.float().mean((2, 3)).repeat(1, 2),)


def test_inception_is_read_as_tensors_and_must_be_the_recorded_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UsageError, match="pip install torch-fidelity"):
        find_net("inception")
    library = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    library.FeatureExtractorInceptionV3 = Fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, library.__name__, library)
    monkeypatch.setattr(nets.metadata, "version", lambda name: "0.4.0")
    path = tmp_path / "weights.pth"
    monkeypatch.setenv(nets.VARIABLE, str(path))
    with pytest.raises(WeightsError, match="releases/download"):
        find_net("inception")
    torch.save({"fc.weight": torch.eye(4, 6), "fc.bias": torch.full((4,), 9.0)}, path)
    with pytest.raises(WeightsError, match="6726825d"):
        find_net("inception")
    monkeypatch.setattr(nets, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    net = find_net("inception")
    features = features_of(np.full((1, 4, 4, 3), (0, 1, 255), np.uint8), net)
    assert features.tolist() == [[0, 1, 255] * 2] and net.version == "0.4.0" and net.classify is not None
    assert torch.allclose(net.classify(features), torch.tensor([[0.0, 0.0, 1.0, 0.0]]))
