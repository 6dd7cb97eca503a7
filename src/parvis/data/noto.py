"""Noto Emoji pictures: 64 px from the npm package, 128 px from the bitmap strike of the font."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, features

from parvis.data.fetch import tar_members
from parvis.errors import DataError

FONT_FILE = "./usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
_NAMES, _PICTURES = "package/emoji.json", "package/img/google/64/"


def read_package(path: Path) -> tuple[list[dict[str, Any]], dict[str, npt.NDArray[np.uint8]]]:
    """``emoji.json`` and the 64 px pictures, composited on white, of the npm package."""
    entries: list[dict[str, Any]] = []
    pictures: dict[str, npt.NDArray[np.uint8]] = {}
    for name, content in tar_members(path, lambda n: n == _NAMES or n.startswith(_PICTURES), 1 << 24):
        if name == _NAMES:
            entries = json.loads(content)
        else:
            with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
                if picture.size != (64, 64):
                    raise DataError(f"{name} has {picture.size} pixels; 64 x 64 were expected")
                pictures[name.rsplit("/", 1)[1]] = on_white(picture)
    return entries, pictures


def on_white(picture: Image.Image) -> npt.NDArray[np.uint8]:
    ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    ground.alpha_composite(picture.convert("RGBA"))
    return np.asarray(ground.convert("RGB"))


def render(font: bytes, files: Sequence[str]) -> tuple[list[str], npt.NDArray[np.uint8]]:
    """The font's 136 x 128 bitmap strike, its 4 empty columns at either side cut.

    Returns the files drawn and uint8 [n, 128, 128, 3] on white.

    A file whose code points give no single drawing (nothing, the "unknown flag", ink beyond the strike) is left out.

    :raises DataError: Pillow was built without RAQM, which joins code points to one drawing
    """
    if not features.check("raqm"):
        raise DataError(
            "drawing emoji at 128 px needs Pillow with RAQM text layout: its published wheels have it (on Linux "
            "install libfribidi0 too); 64 px does not need it"
        )
    strike = ImageFont.truetype(io.BytesIO(font), 109, layout_engine=ImageFont.Layout.RAQM)
    pad = 40

    def draw(text: str) -> npt.NDArray[np.uint8] | None:
        sheet = Image.new("RGBA", (136 + 2 * pad + 136, 128 + 2 * pad), (255, 255, 255, 0))
        ImageDraw.Draw(sheet).text((pad, pad), text, font=strike, embedded_color=True)
        box = (pad + 4, pad, pad + 132, pad + 128)
        ink = sheet.getbbox()
        if ink is None or ink[0] < box[0] or ink[1] < box[1] or ink[2] > box[2] or ink[3] > box[3]:
            return None
        return on_white(sheet.crop(box))

    unknown = draw("\U0001f1fd\U0001f1fd")  # the flag of no country
    done: list[str] = []
    pictures: list[npt.NDArray[np.uint8]] = []
    for file in files:
        picture = draw("".join(chr(int(code, 16)) for code in file.removesuffix(".png").split("-")))
        if picture is not None and (unknown is None or not np.array_equal(picture, unknown)):
            done.append(file)
            pictures.append(picture)
    return done, np.stack(pictures)
