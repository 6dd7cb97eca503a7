"""One door: what is recognised, what is refused and why; how pictures are cut."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parvis.data.crops import anywhere, views
from parvis.data.picture import centre_crop
from parvis.data.source import open_data
from parvis.errors import DataError, UnknownName


def put(path: Path, value: int = 9) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), (value, value, value)).save(path)


def test_splits_of_an_imagefolder(tmp_path: Path) -> None:
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "validation/dog/d.png"):
        put(tmp_path / name)
    assert open_data(tmp_path, 8).names == ("cat/a.png", "dog/b.png")
    assert open_data(tmp_path, 8, "test").names == ("cat/c.png",)
    assert open_data(tmp_path, 8, "validation").classes == ("dog",)
    with pytest.raises(DataError, match="no split 'nosuch'; it has test, train, validation"):
        open_data(tmp_path, 8, "nosuch")
    put(tmp_path / "bus/a.png")
    assert open_data(tmp_path, 8).classes == ("bus", "test", "train", "validation"), (
        "classes that only look like splits"
    )


def test_labels_of_the_metadata_go_before_sub_folders(tmp_path: Path) -> None:
    for name in ("x/a.png", "x/b.png", "y/c.png"):
        put(tmp_path / name)
    rows = [{"file_name": "x/a.png", "label": 10, "text": "one"}, {"file_name": "x/b.png", "label": 9},
            {"file_name": "y/c.png", "label": 10}]  # fmt: skip
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    images = open_data(tmp_path, 8)
    assert images.classes == ("9", "10") and images.labels().tolist() == [1, 0, 1]
    assert images.captions() == ("one", None, None)
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").write_text("file_name,label\nx/a.png,cat\nx/b.png,dog\n")
    with pytest.raises(DataError, match=r"c\.png \(1 such\) belongs to no class"):
        open_data(tmp_path, 8).labels()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p: None, "is not there"),
        (lambda p: p.write_bytes(b"x"), "is one file"),
        (lambda p: (p.mkdir(), (p / "manifest.json").write_text("{}")), "code cache"),
        (lambda p: (p.mkdir(), (p / "config.json").write_text("{}")), "model folder"),
        (lambda p: p.mkdir(), "no pictures"),
    ],
)
def test_what_is_no_data_is_told_apart(tmp_path: Path, make: object, told: str) -> None:
    make(tmp_path / "d")  # type: ignore[operator]
    with pytest.raises(DataError, match=told):
        open_data(tmp_path / "d", 8)


def test_archives_are_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "d.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="compressed archive"):
        open_data(tmp_path / "d.zip", 8)
    with pytest.raises(DataError, match=r"2 of 2 shards"):
        open_data(tmp_path / "x-{0..1}.tar", 8)


def test_ten_crop_is_corners_centre_and_mirror_images() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 100, 3), dtype=np.uint8)
    wide = np.asarray(centre_crop(Image.fromarray(noise), 22))
    found = [np.asarray(view) for view in views(Image.fromarray(noise), 20, "ten")]
    places = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    expected = [part[y : y + 20, x : x + 20] for part in (wide, wide[:, ::-1]) for y, x in places]
    assert len(found) == 10 and all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_twenty_crops_are_ten_at_either_scale() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 100, 3), dtype=np.uint8))
    twenty = [np.asarray(view) for view in views(picture, 40, "twenty")]
    assert all(np.array_equal(a, b) for a, b in zip(twenty[:10], views(picture, 40, "ten"), strict=True))
    near = np.asarray(centre_crop(picture, 42))
    places = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    expected = [part[y : y + 40, x : x + 40] for part in (near, near[:, ::-1]) for y, x in places]
    assert all(np.array_equal(a, b) for a, b in zip(twenty[10:], expected, strict=True))


@pytest.mark.parametrize(("width", "height", "scaled"), [(100, 60, (60, 36)), (30, 30, (36, 36)), (36, 91, (36, 91))])
def test_a_crop_anywhere_is_a_window_of_the_scaled_picture(width: int, height: int, scaled: tuple[int, int]) -> None:
    """VAR: the short side to 1.125 times the size, here 36 of 32, then any window, each as likely."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    whole = np.asarray(picture.resize(scaled, Image.Resampling.LANCZOS))
    corners = [anywhere(picture, 32, *place) for place in ((0, 0), (1 - 1e-12, 1 - 1e-12))]
    assert np.array_equal(corners[0], whole[:32, :32]) and np.array_equal(corners[1], whole[-32:, -32:])
    columns = scaled[0] - 32 + 1
    for left in range(columns):
        middle = np.asarray(anywhere(picture, 32, (left + 0.5) / columns, 0.0))
        assert np.array_equal(middle, whole[:32, left : left + 32])


def test_crops_by_name() -> None:
    picture = Image.new("RGB", (8, 8))
    assert len(views(picture, 8, "none")) == 1 and len(views(picture, 4, "centre")) == 1
    with pytest.raises(DataError, match="not 4 x 4"):
        views(picture, 4, "none")
    with pytest.raises(UnknownName, match="centre"):
        views(picture, 4, "center")
