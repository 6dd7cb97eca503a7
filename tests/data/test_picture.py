"""Picture files: what is decoded how, what is refused, how a square is cut."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parvis.data.picture import centre_crop, read_image, read_mask
from parvis.errors import DataError


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


def test_a_mask_is_what_is_transparent_or_else_what_is_white(tmp_path: Path) -> None:
    white = Image.new("L", (4, 2), 0)
    white.paste(255, (0, 0, 1, 2))
    white.save(tmp_path / "white.png")
    clear = Image.new("RGBA", (4, 2), (255, 255, 255, 255))
    clear.paste((0, 0, 0, 0), (3, 0, 4, 2))
    clear.save(tmp_path / "clear.png")
    opaque = Image.merge("RGBA", [white, white, white, Image.new("L", (4, 2), 255)])
    palette = Image.new("P", (4, 2), 0)
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.paste(1, (1, 0, 2, 2))

    def columns(source: Path | Image.Image) -> list[int]:
        return (np.asarray(read_mask(source)) >= 128).all(0).nonzero()[0].tolist()

    assert columns(tmp_path / "white.png") == [0]
    assert columns(tmp_path / "clear.png") == [3]
    assert columns(opaque) == [0]
    assert columns(palette) == [1]
    with pytest.raises(DataError, match=r"none\.png"):
        read_mask(tmp_path / "none.png")


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


def test_threads_that_decode_leave_warnings_as_they_were(tmp_path: Path) -> None:
    Image.new("RGB", (400, 400)).save(tmp_path / "x.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(read_image, [tmp_path / "x.png"] * 200))) == 200
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)
