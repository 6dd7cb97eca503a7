import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from parvis.data.folder import open_folder
from parvis.errors import DataError, UsageError


def put(path: Path, colour: tuple[int, int, int] = (200, 30, 60), size: tuple[int, int] = (12, 9)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_classes_are_the_sorted_sub_folders_at_any_depth(tmp_path: Path) -> None:
    put(tmp_path / "dog/a.png")
    put(tmp_path / "cat/deep/b.PNG", (0, 255, 0))
    put(tmp_path / ".hidden/c.png")
    put(tmp_path / "cat/.thumb.png")
    (tmp_path / "dog/notes.txt").write_text("no picture")
    folder = open_folder(tmp_path, 8)
    assert folder.classes == ("cat", "dog") and folder.labels().tolist() == [0, 1]
    pixels = folder.pixels([0, 1])
    assert pixels.shape == (2, 3, 8, 8)
    assert pixels[0, :, 4, 4].tolist() == [-1, 1, -1] and pixels[1, 0, 0, 0] == pytest.approx(200 / 127.5 - 1)


def test_captions_come_from_metadata(tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.png", "c.png"):
        put(tmp_path / name)
    lines = [{"file_name": "a.png", "text": "one"}, {"file_name": "sub/b.png", "caption": "two"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert [p.caption for p in open_folder(tmp_path, 8).pictures] == ["one", None, "two"]
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").write_text('file_name,text\nc.png,"three, four"\n')
    assert [p.caption for p in open_folder(tmp_path, 8).pictures] == [None, "three, four", None]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"file_name": "../a.png", "text": "x"}', "out of the folder"),
        ('{"file_name": "/a.png", "text": "x"}', "out of the folder"),
        ('{"file_name": "b.png", "text": "x"}', "not among"),
        ('{"file_name": "a.png"}', "expected file_name"),
        ("[1]", "expected file_name"),
        ("{", "cannot be read"),
    ],
)
def test_bad_metadata_is_named_with_its_entry(tmp_path: Path, line: str, told: str) -> None:
    put(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(line)
    with pytest.raises(DataError, match=told):
        open_folder(tmp_path, 8)


def test_metadata_may_lie_in_the_pictures_own_folder_or_above_the_splits(tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "test/a"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / place / "x.png")
    above = ["file_name,text", "train/a/x.png,far", "train/b/x.png,b from above", "test/a/x.png,of the test"]
    (tmp_path / "metadata.csv").write_text("\n".join(above))
    found = open_folder(tmp_path, 4)
    assert found.captions() == ("far", "b from above") and found.classes == ("a", "b")
    (tmp_path / "train/a/metadata.jsonl").write_text('{"file_name": "x.png", "text": "near"}')
    assert open_folder(tmp_path, 4).captions() == ("near", "b from above")
    assert open_folder(tmp_path, 4, "test").captions() == ("of the test",)


def test_metadata_of_another_kind_are_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a/x.png")
    (tmp_path / "a/metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"metadata\.parquet is not read; write it as metadata\.csv"):
        open_folder(tmp_path, 4)
    (tmp_path / "a/metadata.csv").write_text("file_name,text\nx.png,one")
    assert open_folder(tmp_path, 4).captions() == ("one",)


def test_nothing_to_read_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        open_folder(tmp_path / "none", 8)
    with pytest.raises(DataError, match="no pictures"):
        open_folder(tmp_path, 8)
    put(tmp_path / "a.png")
    with pytest.raises(DataError, match="class sub-folders"):
        open_folder(tmp_path, 8).labels()
    put(tmp_path / "x/b.png")
    with pytest.raises(DataError, match=r"a\.png.*no class"):
        open_folder(tmp_path, 8).labels()
    with pytest.raises(UsageError):
        open_folder(tmp_path, 0)


def test_pixels_are_float_of_the_images(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    folder = open_folder(tmp_path, 8)
    expected = torch.from_numpy(folder.image(0).copy()).permute(2, 0, 1).float() / 127.5 - 1
    assert torch.allclose(folder.pixels([0])[0], expected)
