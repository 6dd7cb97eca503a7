import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvis.data.folder import centre_crop, open_folder, read_image
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


# Decoding


def stored(tmp_path: Path, image: Image.Image, name: str, **options: object) -> np.ndarray:
    image.save(tmp_path / name, **options)  # type: ignore[arg-type]
    found = read_image(tmp_path / name)
    assert found.mode == "RGB"
    return np.asarray(found)


def test_transparency_is_put_on_white(tmp_path: Path) -> None:
    clear = stored(tmp_path, Image.new("RGBA", (2, 2), (255, 0, 0, 0)), "a.png")
    half = stored(tmp_path, Image.new("LA", (2, 2), (0, 128)), "b.png")
    assert (clear == 255).all() and np.abs(half.astype(int) - 127).max() <= 1
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert stored(tmp_path, palette, "c.png")[0, 0].tolist() == [9, 8, 7]
    assert (stored(tmp_path, palette, "d.png", transparency=1) == 255).all()


def test_sixteen_bits_cmyk_and_grey(tmp_path: Path) -> None:
    deep = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16))
    assert stored(tmp_path, deep, "a.png")[0, :, 0].tolist() == [0, 128, 255]
    cmyk = stored(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "b.jpg", quality=100)
    assert cmyk[0, 0, 0] > 200 and cmyk[0, 0, 1] < 60
    assert stored(tmp_path, Image.new("L", (2, 2), 77), "c.png")[0, 0].tolist() == [77] * 3
    assert stored(tmp_path, Image.new("1", (2, 2), 1), "d.png")[0, 0].tolist() == [255] * 3
    with pytest.raises(DataError, match="floating-point"):
        stored(tmp_path, Image.new("F", (2, 2), 0.5), "e.tiff")


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 8))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == (8, 16)


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(bomb(side, side))
    with pytest.raises(DataError, match=r"a\.png.*limit"):
        read_image(tmp_path / "a.png")


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(out, "PNG")
    for name, blob in (
        ("cut.png", out.getvalue()[:3000]),
        ("text.png", b"hello"),
        ("empty.jpg", b""),
        ("ps.png", b"%!PS-Adobe"),
    ):
        (tmp_path / name).write_bytes(blob)
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name)


# Cropping


def test_centre_crop_keeps_the_middle() -> None:
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40] = 255
    assert np.asarray(centre_crop(Image.fromarray(wide), 20)).min() == 255


def test_centre_crop_halves_with_a_box_filter_first() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    box = np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BOX).resize((8, 8), Image.Resampling.BOX))
    assert np.array_equal(np.asarray(centre_crop(Image.fromarray(image), 8)), box)


@pytest.mark.parametrize("size", [(7, 7), (1, 3000), (301, 17), (64, 64), (65, 127)])
def test_centre_crop_gives_the_size_whatever_comes(size: tuple[int, int]) -> None:
    assert centre_crop(Image.new("RGB", size), 32).size == (32, 32)


def test_pixels_are_float_of_the_images(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    folder = open_folder(tmp_path, 8)
    expected = torch.from_numpy(folder.image(0).copy()).permute(2, 0, 1).float() / 127.5 - 1
    assert torch.allclose(folder.pixels([0])[0], expected)
