"""Pictures, sheets, animations and tables; and that nothing half written is ever left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image, features

from parvis.errors import DataError, OutputError, UsageError
from parvis.files import check_writable, new_folder, write_bytes
from parvis.output import (
    Origin,
    format_table,
    matrix,
    read_origin,
    save_animation,
    save_png,
    sheet,
    to_images,
    to_uint8,
)


def picture(value: int = 0, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, (value, 0, 255 - value))


def test_pixels_are_rounded_to_the_nearest_and_clamped() -> None:
    values = torch.tensor([-1.5, -1.0, 0.0, 1.0, 1.5, 2 * 100.49 / 255 - 1, 2 * 100.51 / 255 - 1])
    pixels = values.repeat(3, 1).view(1, 3, 1, 7)
    # 0 lies on 127.5 exactly: the tie goes to the even 128
    assert to_uint8(pixels)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255, 100, 101]


def test_every_uint8_picture_survives_the_way_there_and_back() -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    back = to_uint8(codes.float() / 127.5 - 1)
    assert torch.equal(back, codes.permute(0, 2, 3, 1))


def test_channels_rows_and_columns_keep_their_place() -> None:
    pixels = -torch.ones(2, 3, 4, 6)
    pixels[1, 2, 3, 5] = 1.0
    images = to_images(pixels)
    assert [image.size for image in images] == [(6, 4), (6, 4)]
    assert images[1].getpixel((5, 3)) == (0, 0, 255) and images[0].getpixel((5, 3)) == (0, 0, 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite_are_an_error(bad: float) -> None:
    with pytest.raises(OutputError, match="not all finite"):
        to_uint8(torch.full((1, 3, 2, 2), bad))


def test_a_png_says_how_it_was_made(tmp_path: Path) -> None:
    origin = Origin("Ärmel 赤い", 3, "emoji-64", {"steps": 10, "guidance": 2.5, "top_k": None})
    path = save_png(tmp_path / "deep" / "a.png", picture(7), origin)
    assert read_origin(path) == origin
    with Image.open(path) as image:
        assert image.getpixel((0, 0)) == (7, 0, 248)
    assert read_origin(save_png(tmp_path / "b.png", picture())) is None


def test_a_sheet_shows_every_picture_on_white() -> None:
    images = [picture(value) for value in (0, 100, 200)]
    page = sheet(images, ["one", "two", "a caption that is far too long for one line of a narrow tile"], columns=2)
    colours = {colour for _, colour in page.getcolors(1 << 20)}
    assert {image.getpixel((0, 0)) for image in images} <= colours
    corners = [page.getpixel((x, y)) for x in (0, page.width - 1) for y in (0, page.height - 1)]
    assert corners == [(255, 255, 255)] * 4
    narrow, wide = sheet(images, ["", "", ""], columns=1), sheet(images, ["", "", ""], columns=3)
    assert narrow.height > wide.height and narrow.width < wide.width


def test_a_sheet_shrinks_what_is_large_and_keeps_its_shape() -> None:
    page = sheet([picture(9, (400, 200))], [""], tile=100)
    assert (100 * 50, (9, 0, 246)) in page.getcolors(1 << 20)


def test_a_matrix_puts_every_picture_in_its_row_and_column() -> None:
    colours = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), None]]
    cells = [[None if c is None else Image.new("RGB", (8, 8), c) for c in row] for row in colours]
    page = matrix(cells, ["one", "two"], ["left", "right"], title="a title", tile=40)
    places = {}
    for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255)]:
        at = [(x, y) for x in range(page.width) for y in range(page.height) if page.getpixel((x, y)) == colour]
        assert len(at) == 40 * 40
        places[colour] = at[0]
    assert places[255, 0, 0][1] == places[0, 255, 0][1] < places[0, 0, 255][1]
    assert places[255, 0, 0][0] == places[0, 0, 255][0] < places[0, 255, 0][0]
    with pytest.raises(UsageError, match="2 x 1 names"):
        matrix(cells, ["one", "two"], ["left"])


def test_captions_stay_within_the_sheet() -> None:
    page = sheet([picture()] * 2, ["x" * 500, "word " * 200], columns=2)
    border = [page.getpixel((x, y)) for x in (0, 1, page.width - 2, page.width - 1) for y in range(page.height)]
    assert set(border) == {(255, 255, 255)}


def test_a_sheet_needs_one_caption_each() -> None:
    for images, captions in (([], []), ([picture()], [])):
        with pytest.raises(UsageError, match="one caption for each"):
            sheet(images, captions)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_has_all_frames_in_order(tmp_path: Path, suffix: str) -> None:
    path = save_animation(tmp_path / f"a{suffix}", [picture(value) for value in (0, 90, 200)])
    with Image.open(path) as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]
        reds = []
        for index in range(3):
            image.seek(index)
            reds.append(image.convert("RGB").getpixel((4, 4))[0])  # type: ignore[index]
    assert reds == sorted(reds) and abs(reds[1] - 90) <= 3


def test_without_webp_a_gif_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    assert save_animation(tmp_path / "a.webp", [picture(), picture(9)]) == tmp_path / "a.gif"
    assert os.listdir(tmp_path) == ["a.gif"]


def test_animations_refuse_what_they_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one frame"):
        save_animation(tmp_path / "a.gif", [])
    with pytest.raises(UsageError, match="suffix"):
        save_animation(tmp_path / "a.mp4", [picture()])


def test_tables_are_aligned() -> None:
    text = format_table(["decoder", "passes", "s"], [["lpd", 10, 0.12345], ["raster", 64, None], ["x", 5000, 1234.5]])
    assert text.splitlines() == [
        "decoder  passes      s",
        "-------  ------  -----",
        "lpd          10  0.123",
        "raster       64      -",
        "x          5000   1234",
    ]


def test_an_output_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        save_png(tmp_path / "file" / "a.png", picture())
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes(tmp_path / "folder", b"x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_place_is_tried_without_making_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for good, folder in (("new.png", False), ("a/b/new.png", False), ("file", False), ("a/b", True), ("", True)):
        assert check_writable(tmp_path / good, folder=folder) == tmp_path / good
    for bad, folder in (("file", True), ("", False), ("file/a.png", False), ("file/a", True)):
        with pytest.raises(OutputError, match="cannot write"):
            check_writable(tmp_path / bad, folder=folder)
    if Path("/proc/self").is_dir():  # where nobody can make a file
        with pytest.raises(OutputError, match="no file can be made in '/proc'"):
            check_writable("/proc/parvis.png")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n and then nothing"])
def test_what_is_no_png_has_no_origin(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png is not a PNG"):
        read_origin(tmp_path / "a.png")


FULL_DISK = """
import resource, sys
from pathlib import Path
from parvis.errors import OutputError
from parvis.files import new_folder, write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
path = Path(sys.argv[1])
try:
    write_bytes(path / "a.png", b"n" * 5000)
except OutputError as error:
    print(error)
try:
    with new_folder(path / "model") as folder:
        (folder / "small").write_bytes(b"n" * 10)
        (folder / "large").write_bytes(b"n" * 5000)
except OutputError as error:
    print(error)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.stdout.count("File too large") == 2
    assert (tmp_path / "a.png").read_bytes() == b"old" and sorted(os.listdir(tmp_path)) == ["a.png", "model"]
    assert os.listdir(tmp_path / "model") == ["old"]


def test_an_interrupted_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "model") as folder:
        (folder / "a").write_text("a")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with new_folder(target) as folder:
        (folder / "a").write_text("new")
        assert not target.exists()
    assert (target / "a").read_text() == "new"
    with new_folder(target) as folder:
        (folder / "b").write_text("newer")
        assert os.listdir(target) == ["a"]
    assert os.listdir(target) == ["b"] and os.listdir(tmp_path) == ["model"]
