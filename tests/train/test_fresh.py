"""Pictures cut anew whenever they are seen: a function of (seed, step), decoded ahead, encoded as a cache would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvis.data.crops import anywhere
from parvis.data.folder import open_folder
from parvis.data.images import as_pixels
from parvis.errors import DataError
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train import shuffled
from parvis.train.fresh import Fresh, encoded

SIZE, COUNT = 16, 6


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose pixels say where they lie: red is the column, green the row, blue the picture."""
    root = tmp_path_factory.mktemp("pictures")
    x, y = np.meshgrid(np.arange(36), np.arange(18))
    for i in range(COUNT):
        (root / "ab"[i % 2]).mkdir(exist_ok=True)
        pixels = np.stack([x * 7, y * 14, np.full_like(x, i * 40)], -1).astype(np.uint8)
        Image.fromarray(pixels).save(root / "ab"[i % 2] / f"{i}.png")
    return root


def fresh(root: Path) -> Fresh:
    return Fresh(open_folder(root, SIZE))


def test_a_step_is_a_function_of_seed_and_number(root: Path) -> None:
    one, other = fresh(root).batches(4, seed=1), fresh(root).batches(4, seed=1)
    forward = [one(step) for step in range(5)]
    for step in (3, 0, 4):
        again = other(step)
        assert all(torch.equal(again[name], forward[step][name]) for name in ("pixels", "label"))
    assert not torch.equal(fresh(root).batches(4, seed=2)(0)["pixels"], forward[0]["pixels"])


def test_pictures_come_with_their_own_classes_and_in_turn(root: Path) -> None:
    data = fresh(root)
    batches, pick = data.batches(COUNT, seed=3), shuffled(COUNT, COUNT, seed=3)
    for step in range(2):
        batch = batches(step)
        number = ((batch["pixels"][:, 2, 0, 0] + 1) * 127.5 / 40).round().long()
        assert sorted(number.tolist()) == list(range(COUNT))
        paths = [data.images.pictures[i].path.stem for i in pick(step).tolist()]
        assert [int(stem) for stem in paths] == number.tolist()
        assert torch.equal(batch["label"], number % 2)


def test_every_place_is_cut_alike(root: Path) -> None:
    batches = fresh(root).batches(COUNT, seed=0, threads=2)
    lefts, tops = [], []
    for step in range(100):
        corner = (batches(step)["pixels"][:, :, 0, 0] + 1) * 127.5
        lefts += (corner[:, 0] / 7).round().int().tolist()
        tops += (corner[:, 1] / 14).round().int().tolist()
    assert set(tops) == {0, 1, 2} and set(lefts) == set(range(21))  # of 18 and of 36 pixels, 16 wide
    assert all(150 < tops.count(top) < 250 for top in range(3))
    assert sum(lefts) / len(lefts) == pytest.approx(10, abs=0.8)


def test_what_is_encoded_in_a_step_is_what_the_tokenizer_says(root: Path) -> None:
    torch.manual_seed(0)
    tokenizer = VQGAN(VQConfig(8, (1, 1, 1), 1, 1, False, 4, 8, 16, 4)).eval()
    picture = fresh(root).images.original(0)
    pixels = as_pixels(np.asarray([anywhere(picture, SIZE, 0.3, 0.6)]))
    plain = tokenizer.encode(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoded(tokenizer, pixels), plain)


def test_other_pictures_are_another_run(root: Path, tmp_path: Path) -> None:
    assert fresh(root).identity == fresh(root).identity != Fresh(open_folder(root, 8)).identity
    Image.new("RGB", (20, 20)).save(tmp_path / "x.png")
    assert (
        fresh(tmp_path).identity != fresh(root).identity and fresh(tmp_path).batches(2)(0)["label"].tolist() == [0] * 2
    )


def test_a_damaged_picture_stops_the_step_that_sees_it(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"x\.png"):
        fresh(tmp_path).batches(1)(0)
