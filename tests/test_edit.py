"""Editing: which tokens stay, how pictures are put together again, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvis.edit import inpaint, outpaint, seam, vary
from parvis.errors import DataError, UsageError
from parvis.grid import Grid

GRID, FACTOR, SIZE = Grid.image(4, 4), 8, (32, 32)


def picture(width: int = 32, height: int = 32) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def mask(*boxes: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> Image.Image:
    drawn = Image.new("L", size, 0)
    for box in boxes:
        drawn.paste(255, box)
    return drawn


def test_a_token_stays_unless_a_pixel_of_its_cell_is_marked() -> None:
    edit = inpaint(picture(), mask((8, 0, 9, 1), (16, 16, 32, 24)), SIZE)
    known = edit.known(GRID, FACTOR, [5, 6])
    assert known.shape == (2, 16)
    assert (~known[0]).nonzero().flatten().tolist() == [1, 10, 11]
    assert torch.equal(known[0], known[1])


def test_a_mark_of_one_pixel_survives_scaling_down() -> None:
    edit = inpaint(picture(160, 160), mask((159, 0, 160, 1), size=(160, 160)), SIZE)
    assert edit.redraw is not None and edit.redraw.sum() == 1 and edit.redraw[0, 31]


def test_kept_pixels_are_pasted_back_with_a_seam() -> None:
    edit = inpaint(picture(), mask((0, 0, 8, 32)), SIZE, feather=3)
    drawn = torch.full((2, 3, 32, 32), 0.25)
    out = edit.pasted(drawn)
    assert torch.equal(out[..., :8], drawn[..., :8])
    assert torch.equal(out[..., 11:], edit.pixels[..., 11:].expand(2, -1, -1, -1))
    for d in (1, 2, 3):
        want = edit.pixels[0, :, :, 7 + d] * d / 4 + 0.25 * (1 - d / 4)
        torch.testing.assert_close(out[0, :, :, 7 + d], want)
    sharp = inpaint(picture(), mask((0, 0, 8, 32)), SIZE)
    assert torch.equal(sharp.pasted(drawn)[..., 8:], edit.pixels[..., 8:].expand(2, -1, -1, -1))


def test_the_seam_is_a_function_of_the_distance() -> None:
    marked = torch.rand(13, 9, generator=torch.Generator().manual_seed(0)) > 0.96
    share = seam(marked, 2)
    there = marked.nonzero()
    for y in range(13):
        for x in range(9):
            distance = int((there - torch.tensor([y, x])).abs().amax(1).min())
            assert share[y, x] == pytest.approx(max(0.0, 1 - distance / 3))


def test_outpainting_puts_the_picture_into_a_larger_frame() -> None:
    inner = Image.new("RGB", (16, 16), (255, 0, 0))
    edit = outpaint(inner, (8, 8, 8, 8), SIZE)
    assert edit.redraw is not None
    assert not edit.redraw[8:24, 8:24].any() and edit.redraw.sum() == 32 * 32 - 16 * 16
    assert edit.pixels[0, :, 16, 16].tolist() == [1, -1, -1]
    known = edit.known(GRID, FACTOR, [0])
    assert known.nonzero()[:, 1].tolist() == [5, 6, 9, 10]


def test_a_variation_keeps_a_share_of_the_tokens_chosen_by_seed() -> None:
    edit = vary(picture(), 0.25, SIZE)
    known = edit.known(GRID, FACTOR, [1, 2, 1])
    assert known.sum(1).tolist() == [4, 4, 4]
    assert torch.equal(known[0], known[2]) and not torch.equal(known[0], known[1])
    drawn = torch.zeros(1, 3, 32, 32)
    assert edit.pasted(drawn) is drawn
    assert vary(picture(), 0.001, SIZE).known(GRID, FACTOR, [0]).sum() == 1
    assert vary(picture(), 0.999, SIZE).known(GRID, FACTOR, [0]).sum() == 15


def test_a_picture_of_another_shape_is_cut_only_when_asked() -> None:
    wide, marked = picture(64, 32), mask((0, 0, 17, 32), size=(64, 32))
    with pytest.raises(UsageError, match="64 x 32 pixels, which has another shape"):
        inpaint(wide, marked, SIZE)
    edit = inpaint(wide, marked, SIZE, crop=True)
    assert edit.redraw is not None and edit.redraw.any(0).nonzero().flatten().tolist() == [0]
    assert torch.equal(edit.pixels, inpaint(wide.crop((16, 0, 48, 32)), mask((0, 0, 1, 32)), SIZE).pixels)


def test_an_animation_is_refused_and_a_photograph_that_brings_another_is_not(tmp_path: Path) -> None:
    moving, photo = tmp_path / "moving.gif", tmp_path / "photo.jpg"
    picture().save(moving, save_all=True, append_images=[Image.new("RGB", SIZE, (9, 9, 9))])
    picture().save(photo, "MPO", save_all=True, append_images=[Image.new("RGB", SIZE)])
    for call in (
        lambda: inpaint(moving, mask((0, 0, 1, 1)), SIZE),
        lambda: inpaint(picture(), moving, SIZE),
        lambda: outpaint(moving, (0, 0, 8, 8), SIZE),
        lambda: vary(moving, 0.5, SIZE),
    ):
        with pytest.raises(DataError, match=r"moving\.gif has 2 frames"):
            call()
    assert vary(photo, 0.5, SIZE).pixels.shape[-2:] == SIZE


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: inpaint(picture(), mask((0, 0, 1, 1), size=(16, 16)), SIZE),
            "mask is 16 x 16 pixels and the picture 32 x 32",
        ),
        (lambda: inpaint(picture(), mask(), SIZE), "marks nothing"),
        (lambda: inpaint(picture(), mask((0, 0, 32, 32)), SIZE), "marks everything"),
        (
            lambda: inpaint(
                picture(), mask(*((x, y, x + 1, y + 1) for x in range(0, 32, 8) for y in range(3, 32, 8))), SIZE
            ).known(GRID, FACTOR, [0]),
            "touches every token",
        ),
        (lambda: outpaint(picture(), (30000, 30000, 30000, 30000), SIZE), "60032 x 60032 pixels, more than the limit"),
        (lambda: inpaint(picture(), torch.zeros(32, 32), SIZE), r"bool \[H, W\]"),
        (lambda: outpaint(picture(), (0, 0, 0, 0), SIZE), "not all 0"),
        (lambda: outpaint(picture(), (-1, 0, 4, 0), SIZE), "0 or more"),
        (lambda: vary(picture(), 1.0, SIZE), "between 0 and 1"),
        (lambda: inpaint(picture(), mask((0, 0, 1, 1)), SIZE, feather=-1), "0 to 1024"),
        (lambda: vary(picture(), 0.5, SIZE).known(Grid.pyramid((1, 2)), 8, [0]), "one token per cell"),
    ],
)
def test_bad_edits_are_refused(call, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=words):
        call()
