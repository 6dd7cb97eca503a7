"""A request is checked against its system before anything runs."""

from __future__ import annotations

import pytest
import torch

from parvis.errors import UsageError
from parvis.request import Request
from toys import CHANNELS, CLASSES, VOCABULARY, toy

LABELS = torch.tensor([0, 3])
ZEROS, NONE = torch.zeros(2, 24, dtype=torch.long), torch.zeros(2, 24, dtype=torch.bool)


def check(name: str = "lpd", given: object = LABELS, seeds: tuple[int, ...] = (0, 1), **more: object) -> None:
    Request(given, seeds, **more).check(toy(name))  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [None, 1, 24])
def test_a_right_request_passes(steps: int | None) -> None:
    check(steps=steps)
    check(values=ZEROS, known=NONE)
    check("words", torch.tensor([[1, 2, 0], [10, 0, 0]]))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"seeds": (0,)}, "2 conditions and 1 seeds; give one seed per image"),
        ({"given": LABELS[:0], "seeds": ()}, "0 conditions and 0 seeds; .* at least one image"),
        ({"given": torch.tensor([0, CLASSES])}, "classes are numbers from 0 to 4; got 0 to 5"),
        ({"given": torch.tensor([[1, 2, 0]])}, r"whole numbers \[B\]"),
        ({"name": "words"}, r"words are a tensor of whole numbers \[B, 3\]"),
        ({"name": "words", "given": torch.tensor([[1, 2, 0], [11, 0, 0]])}, "words are numbers from 0 to 10"),
        ({"steps": 0}, "steps is 0; toy-lpd has 24 tokens, so give 1 to 24"),
        ({"steps": 25}, "steps is 25"),
        ({"values": ZEROS}, "need both their values and the mask"),
        ({"known": NONE}, "need both their values and the mask"),
        ({"values": ZEROS[:, :5], "known": NONE}, r"values is torch.int64 \(2, 24\), .*; got torch.int64 \(2, 5\)"),
        ({"values": ZEROS, "known": NONE[:1]}, r"known is torch.bool \(2, 24\), .*; got torch.bool \(1, 24\)"),
        ({"values": ZEROS, "known": NONE.long()}, r"got torch.int64 \(2, 24\)"),
        ({"values": ZEROS.float(), "known": NONE}, r"got torch.float32"),
        ({"values": ZEROS + VOCABULARY, "known": ~NONE}, "known values are codes from 0 to 16"),
        ({"values": ZEROS - 1, "known": ~NONE}, "known values are codes from 0 to 16"),
        ({"name": "par", "values": ZEROS[:, :16], "known": NONE[:, :16]}, "toy-par cannot be given known tokens"),
    ],
)
def test_a_wrong_request_is_refused(more: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(**more)  # type: ignore[arg-type]


def test_values_where_nothing_is_known_may_be_anything() -> None:
    check(values=ZEROS - 1, known=NONE)


def test_known_latents() -> None:
    values, known = torch.zeros(2, 24, CHANNELS), torch.ones(2, 24, dtype=torch.bool)
    check("mar", values=values, known=known)
    for wrong, message in (
        (ZEROS, r"values is torch.float32 \(2, 24, 3\), .*; got torch.int64 \(2, 24\)"),
        (values.double(), "got torch.float64"),
        (values / 0, "known latents are finite numbers"),
    ):
        with pytest.raises(UsageError, match=message):
            check("mar", values=wrong, known=known)
    check("mar", values=values / 0, known=~known)


def test_the_batch_is_one_image_per_seed() -> None:
    assert Request(LABELS, (7, 7)).batch == 2
