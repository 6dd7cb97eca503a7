"""Pictures of orders: every position in the colour of the pass that writes it, from dark (first) to light (last).

Knows nothing about models. Sizes are pixels of the finished picture; it is drawn ``FINE`` times larger and reduced.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.order import Order

# Sixteen colours of even steps in OKLCH: lightness .27 to .91, hue 300 (violet) to 95 (yellow), as colourful as sRGB
# allows up to chroma .145. Lightness rises evenly, so the map reads in grey and by colour-blind eyes.
_HEX = "33035e 311975 262e86 084293 0b5789 0b678b 0f778e 148790 189792 1ba78f 1fb884 5ec477 8ccd6c b5d462 dcdb5f fee06d"
COLOURS = tuple(tuple(bytes.fromhex(text)) for text in _HEX.split())
WHITE, INK, GREY, EMPTY = (255, 255, 255), (40, 42, 48), (112, 116, 124), (236, 238, 241)
SYMBOLS = "123456789abcdefghijklmnopqrstuvwxyz"
FINE = 2
MARGIN, BOARD, BARS = 28, 528, 52
FRAMES = 64

Colour = tuple[int, int, int]


def colour(share: float) -> Colour:
    """The colour of ``share`` in 0..1 of the way from first to last."""
    at = min(max(share, 0.0), 1.0) * (len(COLOURS) - 1)
    low = min(int(at), len(COLOURS) - 2)
    r, g, b = (round(x + (y - x) * (at - low)) for x, y in zip(COLOURS[low], COLOURS[low + 1], strict=True))
    return r, g, b


@dataclass(frozen=True)
class Chart:
    """What is drawn: one image's order.

    Attributes:
        groups: of every position its group. sizes: of the groups. places: (row, column) of every position, scales side
            by side. rows, columns: cells of the board.
    """

    groups: tuple[int, ...]
    sizes: tuple[int, ...]
    places: tuple[tuple[int, int], ...]
    rows: int
    columns: int

    @classmethod
    def of(cls, order: Order, grid: Grid, image: int = 0) -> Chart:
        """The order of one ``image`` of a batch.

        Raises:
            UsageError: a grid of several frames, or of another number of positions.
        """
        if any(t != 1 for t, _, _ in grid.scales) or grid.tokens != order.tokens:
            raise UsageError(
                f"a picture shows the order of an image; got {order.tokens} positions on a grid of scales {grid.scales}"
            )
        sizes = (*order.before, *order.sizes)
        of_rank = [group for group, size in enumerate(sizes) for _ in range(size)]
        ranks = order.inverse().view(-1, order.tokens)[image].tolist()
        places, left = [], 0
        for _, height, width in grid.scales:
            places += [(y, left + x) for y in range(height) for x in range(width)]
            left += width + 1
        return cls(tuple(of_rank[r] for r in ranks), sizes, tuple(places), max(h for _, h, _ in grid.scales), left - 1)

    def share(self, group: int) -> float:
        return group / max(1, len(self.sizes) - 1)


def still(chart: Chart, title: str) -> Image.Image:
    """The whole order at once, with the sizes of its groups."""
    few = f"{min(chart.sizes)} to {max(chart.sizes)}" if len(set(chart.sizes)) > 1 else f"{chart.sizes[0]}"
    note = f"{len(chart.groups)} positions in {len(chart.sizes)} passes of {few}"
    return _page(chart, title, note, None)


def frames(chart: Chart, title: str, most: int = FRAMES) -> list[Image.Image]:
    """The groups appearing one after the other, the current one ringed; evenly thinned out beyond ``most`` frames, and
    the whole order last."""
    count = len(chart.sizes)
    step = -(-count // most)
    shown = [*range(0, count - 1, step), count - 1]
    notes = [f"pass {k + 1} of {count}: {chart.sizes[k]} position{'s' * (chart.sizes[k] > 1)}" for k in shown]
    return [*(_page(chart, title, note, k) for k, note in zip(shown, notes, strict=True)), still(chart, title)]


def as_text(chart: Chart) -> str:
    """The board in letters, one per position: ``1`` to ``9``, then ``a`` to ``z``; more than 35 passes share them."""
    count = len(chart.sizes)
    symbols = [SYMBOLS[k if count <= len(SYMBOLS) else k * len(SYMBOLS) // count] for k in range(count)]
    lines = [[" "] * chart.columns for _ in range(chart.rows)]
    for (y, x), group in zip(chart.places, chart.groups, strict=True):
        lines[y][x] = symbols[group]
    return "\n".join(" ".join(line).rstrip() for line in lines)


def _page(chart: Chart, title: str, note: str, current: int | None) -> Image.Image:
    """One picture; ``current`` is the group that is being written, ``None`` shows all alike."""
    cell = max(5, min(46, BOARD // max(chart.rows, chart.columns)))
    wide, high = chart.columns * cell, chart.rows * cell
    width, top = max(wide, 420) + 2 * MARGIN, MARGIN + 56
    page = Image.new("RGB", (width * FINE, (top + high + 22 + BARS + 24 + MARGIN) * FINE), WHITE)
    draw = ImageDraw.Draw(page)
    left = (width - wide) // 2
    draw.text((MARGIN * FINE, (MARGIN - 6) * FINE), title, fill=INK, font=_font(20))
    draw.text((MARGIN * FINE, (MARGIN + 22) * FINE), note, fill=GREY, font=_font(14))
    for (y, x), group in zip(chart.places, chart.groups, strict=True):
        _cell(draw, (left + x * cell, top + y * cell), cell, chart, group, current)
    _bars(draw, chart, (MARGIN, top + high + 22), width - 2 * MARGIN, current)
    return page.reduce(FINE)


def _cell(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], cell: int, chart: Chart, group: int, current: int | None
) -> None:
    gap = 1 if cell >= 8 else 0.5
    x, y = at
    box = [(x + gap) * FINE, (y + gap) * FINE, (x + cell - gap) * FINE - 1, (y + cell - gap) * FINE - 1]
    fill = _fill(chart, group, current)
    ring = INK if group == current else None
    radius = cell * FINE // 8 if cell >= 10 else 0
    draw.rounded_rectangle(box, radius, fill, ring, width=FINE * max(1, cell // 12))
    if cell >= 20 and fill != EMPTY:
        dark = sum(w * v for w, v in zip((0.299, 0.587, 0.114), fill, strict=True)) < 140
        middle = ((x + cell / 2) * FINE, (y + cell / 2) * FINE)
        size = max(9, round(cell * (0.42 if len(chart.sizes) < 100 else 0.34)))
        draw.text(middle, str(group + 1), fill=WHITE if dark else INK, font=_font(size), anchor="mm")


def _bars(draw: ImageDraw.ImageDraw, chart: Chart, at: tuple[int, int], width: int, current: int | None) -> None:
    """The sizes of the groups, as bars in the colours of the board."""
    x0, y0 = at
    count, most = len(chart.sizes), max(chart.sizes)
    slot = width / count
    gap = 1 if slot >= 4 else 0
    for k, size in enumerate(chart.sizes):
        x, y = x0 + k * slot, y0 + BARS * (1 - size / most)
        box = [
            round(x * FINE),
            round(y * FINE),
            max(round(x * FINE), round((x + slot - gap) * FINE) - 1),
            (y0 + BARS) * FINE,
        ]
        draw.rectangle(box, _fill(chart, k, current), INK if k == current and slot >= 4 else None, width=FINE)
    base = (y0 + BARS + 6) * FINE
    draw.text((x0 * FINE, base), "pass 1", fill=GREY, font=_font(12))
    draw.text(((x0 + width) * FINE, base), f"pass {count}", fill=GREY, font=_font(12), anchor="ra")
    words = f"positions a pass, up to {most}" if most > 1 else "one position a pass"
    draw.text(((x0 + width / 2) * FINE, base), words, fill=GREY, font=_font(12), anchor="ma")


def _fill(chart: Chart, group: int, current: int | None) -> Colour:
    if current is not None and group > current:
        return EMPTY
    full = colour(chart.share(group))
    if current is None or group == current:
        return full
    r, g, b = (round(v + (255 - v) * 0.45) for v in full)
    return r, g, b


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * FINE)
