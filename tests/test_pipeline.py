"""The front door: prompts, seeds, settings and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import parvis
from parvis.data.captions import Words
from parvis.output import read_origin
from toys import BUILDERS

VOCABULARY = ("apple", "blue", "cat", "dog", "green", "hat", "red", "sad", "small", "tree")


@pytest.fixture(scope="module")
def words() -> parvis.Pipeline:
    torch.manual_seed(7)
    return parvis.Pipeline(BUILDERS["words"](), words=Words(VOCABULARY, slots=3), device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def classes() -> parvis.Pipeline:
    torch.manual_seed(7)
    return parvis.Pipeline(BUILDERS["lpd"](), device="cpu", precision="fp32")


def same(a: object, b: object) -> bool:
    return a.tobytes() == b.tobytes()  # type: ignore[attr-defined, no-any-return]


def test_n_pictures_of_every_prompt_with_seeds_that_count_on(words: parvis.Pipeline) -> None:
    images = words.generate(["red apple", "blue cat"], n=2, seed=5)
    assert images.prompts == ("red apple", "red apple", "blue cat", "blue cat")
    assert images.seeds == (5, 6, 7, 8)
    assert images.passes == words.system.preset.steps
    assert all(image.mode == "RGB" for image in images)


def test_a_picture_is_the_same_in_any_batch(words: parvis.Pipeline) -> None:
    together = words.generate(["red apple", "blue cat", "dog"], seed=3)
    assert same(words.generate("blue cat", seed=4)[0], together[1])
    assert all(
        same(a, b)
        for a, b in zip(words.generate(["red apple", "blue cat", "dog"], seed=3, batch=2), together, strict=True)
    )


def test_the_last_step_of_a_stream_is_the_picture(words: parvis.Pipeline) -> None:
    steps = list(words.stream("red apple", seed=3, steps=4))
    assert [step.index for step in steps] == [1, 2, 3, 4] and steps[0].total == 4
    assert same(steps[-1].images[0], words.generate("red apple", seed=3, steps=4)[0])
    shares = [float(step.known.float().mean()) for step in steps]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert (np.asarray(steps[0].images[0]) == 255).all(axis=2).mean() > 0.8


def test_settings_change_the_picture_and_are_recorded(words: parvis.Pipeline, tmp_path: Path) -> None:
    images = words.generate("red apple", seed=1, steps=3, guidance=4.0, temperature=0.5, top_k=3, top_p=0.9)
    assert images.settings["steps"] == 3 and images.settings["guidance"] == 4.0
    origin = read_origin(images.save(tmp_path)[0])
    assert origin is not None and (origin.prompt, origin.seed) == ("red apple", 1)
    assert origin.settings["top_k"] == 3
    assert not same(images[0], words.generate("red apple", seed=1)[0])


def test_unknown_words_warn_and_all_unknown_is_an_error(words: parvis.Pipeline) -> None:
    with pytest.warns(UserWarning, match="aple"):
        warned = words.generate("red aple", seed=0)
    assert same(warned[0], words.generate("red", seed=0)[0])
    with pytest.raises(parvis.UsageError, match="knows none of the words"):
        words.generate("zzz qqq")


def test_classes(classes: parvis.Pipeline) -> None:
    assert same(classes.generate(3, seed=2)[0], classes.generate("3", seed=2)[0])
    for wrong in (5, -1, "apple"):
        with pytest.raises(parvis.UsageError, match="class numbers 0 to 4"):
            classes.generate(wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"seed": [1, 2]}, "2 seeds for 1 pictures"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 17}, "16 tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"guidance": float("nan")}, "guidance"),
    ],
)
def test_wrong_options(words: parvis.Pipeline, options: dict[str, object], message: str) -> None:
    with pytest.raises(parvis.UsageError, match=message):
        words.generate("red apple", **options)  # type: ignore[arg-type]


def test_wrong_names() -> None:
    with pytest.raises(parvis.UnknownName, match="lpd-l-256"):
        parvis.load("lpd-l-255")
    with pytest.raises(parvis.UnknownName, match="published system"):
        parvis.load("lpd-q", random_weights=0)


def test_no_prompts(words: parvis.Pipeline) -> None:
    with pytest.raises(parvis.UsageError, match="0 prompts"):
        words.generate([])
