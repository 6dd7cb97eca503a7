"""What Parvis hands to people: pictures that say how they were made, contact sheets, animations, tables.

Knows nothing about models. Every file is written whole or not at all (``parvis/files.py``).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin, features

from parvis.errors import DataError, OutputError, UsageError
from parvis.files import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

MARGIN, GAP, LINES = 24, 16, 2
_NUMBER = re.compile(r"-|-?[0-9][0-9,.]*(e[-+]?[0-9]+)?[x%]?")
WHITE, INK = (255, 255, 255), (64, 64, 64)


@dataclass(frozen=True)
class Origin:
    """How a picture was made; written into its PNG file.

    Attributes:
        prompt: the caption or class. seed: of this picture. model: name of the system. settings: what JSON can hold.
    """

    prompt: str
    seed: int
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def to_uint8(pixels: Tensor) -> Tensor:
    """Pixels float [B, 3, H, W] in [-1, 1] to uint8 [B, H, W, 3].

    The value is the integer nearest to (x + 1) * 127.5, ties to even, clamped to 0..255.
    Raises :class:`OutputError` if a value is not finite.
    """
    import torch

    scaled = (pixels.detach().float() + 1) * 127.5
    if not bool(torch.isfinite(scaled).all()):
        raise OutputError("the decoded pixels are not all finite numbers; try --precision fp32")
    return scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def to_images(pixels: Tensor) -> list[Image.Image]:
    """Pixels float [B, 3, H, W] in [-1, 1] to B pictures, rounded as :func:`to_uint8` says."""
    return [Image.fromarray(array) for array in to_uint8(pixels).cpu().numpy()]


def png_bytes(image: Image.Image, origin: Origin | None = None) -> bytes:
    """A PNG file; ``origin`` goes into its text chunks ``prompt``, ``seed``, ``model``, ``settings`` (JSON)."""
    info = PngImagePlugin.PngInfo()
    if origin is not None:
        info.add_text("prompt", origin.prompt)
        info.add_text("seed", str(origin.seed))
        info.add_text("model", origin.model)
        info.add_text("settings", json.dumps(dict(origin.settings), sort_keys=True))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def save_png(path: str | Path, image: Image.Image, origin: Origin | None = None) -> Path:
    """Write what :func:`png_bytes` makes. Raises :class:`OutputError` if it cannot be written."""
    return write_bytes(path, png_bytes(image, origin))


def read_origin(path: str | Path) -> Origin | None:
    """What :func:`save_png` wrote into ``path``; ``None`` if there is nothing of the kind.

    Raises :class:`DataError` if ``path`` is no PNG file that can be read.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()  # text may stand behind the pixels
            text = getattr(image, "text", {})
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} is not a PNG file that can be read ({error}); give a picture that Parvis wrote"
        ) from error
    try:
        return Origin(text["prompt"], int(text["seed"]), text["model"], json.loads(text["settings"]))
    except (KeyError, ValueError):
        return None


def sheet(images: Sequence[Image.Image], captions: Sequence[str], *, columns: int = 8, tile: int = 128) -> Image.Image:
    """A contact sheet on white: ``columns`` pictures a row, each with its caption in small letters under it.

    Pictures are enlarged by the largest whole factor (so pixels stay square), or reduced, to fit ``tile`` x ``tile``.
    Captions are wrapped to two lines. Raises :class:`UsageError` if there are no pictures, or not one caption for each.
    """
    if not images or len(images) != len(captions):
        raise UsageError(f"a sheet needs pictures and one caption for each; got {len(images)} and {len(captions)}")
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    font = ImageFont.load_default(11)
    line = 14
    step_x, step_y = tile + GAP, tile + 6 + LINES * line + GAP
    page = Image.new("RGB", (2 * MARGIN + columns * step_x - GAP, 2 * MARGIN + rows * step_y - GAP), WHITE)
    draw = ImageDraw.Draw(page)
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = MARGIN + i % columns * step_x, MARGIN + i // columns * step_y
        fitted = _fit(image.convert("RGB"), tile)
        page.paste(fitted, (x + (tile - fitted.width) // 2, y + (tile - fitted.height) // 2))
        for k, text in enumerate(_wrap(caption, tile + GAP - 4, font)):
            draw.text((x + tile / 2, y + tile + 6 + k * line), text, fill=INK, font=font, anchor="ma")
    return page


def matrix(
    cells: Sequence[Sequence[Image.Image | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    tile: int = 160,
) -> Image.Image:
    """Pictures in rows and columns that have names, on white; ``None`` leaves a grey dash.

    Pictures are fitted as in :func:`sheet`. Raises :class:`UsageError` if names and pictures do not match.
    """
    if not rows or not columns or [len(row) for row in cells] != [len(columns)] * len(rows):
        raise UsageError(f"{len(rows)} x {len(columns)} names need as many pictures; got rows of {[*map(len, cells)]}")
    font, large = ImageFont.load_default(13), ImageFont.load_default(16)
    left = MARGIN + round(max(font.getlength(name) for name in rows)) + GAP
    top = MARGIN + (32 if title else 0) + 22
    step = tile + GAP
    wide = max(left + len(columns) * step - GAP, MARGIN + round(large.getlength(title))) + MARGIN
    page = Image.new("RGB", (wide, top + len(rows) * step - GAP + MARGIN), WHITE)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN), title, fill=INK, font=large)
    for j, name in enumerate(columns):
        draw.text((left + j * step + tile / 2, top - 8), name, fill=INK, font=font, anchor="ms")
    for i, (name, row) in enumerate(zip(rows, cells, strict=True)):
        draw.text((left - GAP, top + i * step + tile / 2), name, fill=INK, font=font, anchor="rm")
        for j, image in enumerate(row):
            x, y = left + j * step, top + i * step
            if image is None:
                draw.line(
                    (x + tile / 2 - 8, y + tile / 2, x + tile / 2 + 8, y + tile / 2), fill=(190, 190, 190), width=2
                )
                continue
            fitted = _fit(image.convert("RGB"), tile)
            page.paste(fitted, (x + (tile - fitted.width) // 2, y + (tile - fitted.height) // 2))
    return page


def save_animation(
    path: str | Path, frames: Sequence[Image.Image], *, milliseconds: int = 120, hold: int = 1500
) -> Path:
    """Write an endless animation, the last frame held for ``hold`` milliseconds; returns the path that was written.

    The suffix says the format: ``.gif``, or ``.webp`` (lossless); where Pillow was built without WebP, a ``.gif`` of
    the same name is written instead. Raises :class:`UsageError` for no frames or another suffix, :class:`OutputError`
    if it cannot be written.
    """
    path = Path(path)
    if not frames:
        raise UsageError("an animation needs at least one frame")
    if path.suffix not in (".webp", ".gif"):
        raise UsageError(f"{str(path)!r} is no animation; give it the suffix .webp or .gif")
    if path.suffix == ".webp" and not features.check("webp"):
        path = path.with_suffix(".gif")
    durations = [milliseconds] * (len(frames) - 1) + [hold]
    first, *rest = [frame.convert("RGB") for frame in frames]
    buffer = io.BytesIO()
    how: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(
        buffer, format=path.suffix[1:].upper(), save_all=True, append_images=rest, duration=durations, loop=0, **how
    )
    return write_bytes(path, buffer.getvalue())


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table for the terminal: aligned columns, those of numbers to the right; floats get three significant digits.

    A cell that is ``None`` is shown as ``-``; a text that is a number (``"0.50"``) counts as one and stays as it is.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    for row in cells:
        assert len(row) == len(header), "a row has not one cell for each column"
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    right = [bool(rows) and all(_NUMBER.fullmatch(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, cells)])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "-" if value is None else str(value)


def _fit(image: Image.Image, tile: int) -> Image.Image:
    longest = max(image.size)
    if longest <= tile:
        factor = tile // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    size = (max(1, round(image.width * tile / longest)), max(1, round(image.height * tile / longest)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _wrap(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """At most ``LINES`` lines no wider than ``width`` pixels; what does not fit ends in three dots."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < LINES:
        count = len(words)
        while count > 1 and font.getlength(" ".join(words[:count])) > width:
            count -= 1
        lines.append(" ".join(words[:count]))
        words = words[count:]
    if words:
        lines[-1] += "..."
    return [_shorten(line, width, font) for line in lines]


def _shorten(line: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(line) <= width:
        return line
    text = line.removesuffix("...")
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
