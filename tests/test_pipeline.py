"""The front door: prompts, seeds, settings and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import parvis
from parvis.assemble import build, parts, published, read_folder
from parvis.data.captions import Words
from parvis.errors import UsageError
from parvis.generate import generate, pixels
from parvis.order import random, raster
from parvis.output import read_origin, to_images
from parvis.planners import PLANNERS
from parvis.schedule import group_sizes
from parvis.systems import PUBLISHED
from parvis.weights import catalog
from parvis.weights.config import FileRecord, parse_config
from parvis.weights.folder import load_config, save_folder
from parvis.weights.int8 import to_int8
from toys import BUILDERS, LATENTS, save_toy

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


def test_requests_are_what_generate_draws_one_by_one(classes: parvis.Pipeline) -> None:
    picture = Image.new("RGB", (12, 8), (9, 99, 199))
    edit = classes.prepare(picture, keep=0.5)
    for options in ({}, {"steps": 4, "guidance": 1.5, "order": "random"}, {"edit": edit}):
        pictures = classes.generate([1, 3], n=2, seed=5, **options)
        requests = classes.requests([1, 3], n=2, seed=5, **options)
        assert [request.batch for request in requests] == [1] * 4
        drawn = [pixels(classes.system, generate(classes.system, request)[0]) for request in requests]
        assert all(same(a, b) for a, b in zip(pictures, to_images(torch.cat(drawn)), strict=True))
    with pytest.raises(UsageError, match="steps is 99"):
        classes.requests(1, steps=99)


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


@pytest.mark.parametrize("name", LATENTS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pictures_from_latents(name: str, precision: str) -> None:
    """Drawn, streamed and the same in any batch (bfloat16 rounds differently there); a canvas in part is white."""
    torch.manual_seed(7)
    model = parvis.Pipeline(BUILDERS[name](), device="cpu", precision=precision)
    images = model.generate([3, 1], seed=2, temperature=0.9)
    assert images[0].size == (12, 8) and not same(images[0], images[1])
    steps = list(model.stream([3, 1], seed=2, temperature=0.9))
    assert len(steps) == images.passes and same(steps[-1].images[1], images[1])
    shares = [float(step.known.float().mean()) for step in steps]
    assert shares == sorted(shares) and shares[-1] == 1.0
    first = np.asarray(steps[0].images[0])
    assert (first == 255).all(axis=2).mean() > 0.9
    if precision == "fp32":
        alone = np.asarray(model.generate(1, seed=3, temperature=0.9)[0]).astype(int)
        assert abs(alone - np.asarray(images[1]).astype(int)).max() <= 1
    with pytest.raises(parvis.UsageError, match="draws latents, not codes"):
        model.generate(3, top_k=5)


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


def test_a_published_system_has_no_weights_here() -> None:
    with pytest.raises(parvis.WeightsError, match="lpd-l-256 is a published system, whose weights do not come"):
        parvis.load("lpd-l-256")


def test_no_prompts(words: parvis.Pipeline) -> None:
    with pytest.raises(parvis.UsageError, match="0 prompts"):
        words.generate([])


def split_mask(pipeline: parvis.Pipeline) -> tuple[Image.Image, Image.Image, int]:
    """A picture at the model's size, a mask of its right half, and where that begins."""
    width, height = (side * pipeline.system.tokenizer.factor for side in pipeline.system.grid.scales[0][:0:-1])
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (width // 2, 0, width, height))
    return image, mask, width // 2


def test_an_edit_keeps_what_the_mask_does_not_mark(words: parvis.Pipeline) -> None:
    image, mask, middle = split_mask(words)
    edited = words.edit(image, "red apple", mask=mask, feather=2, n=3, seed=5, guidance=2.0)
    assert len(edited) == 3 and edited.settings["edit"] == "inpaint"
    for picture in edited:
        assert np.array_equal(np.asarray(picture)[:, : middle - 2], np.asarray(image)[:, : middle - 2])
        assert not np.array_equal(np.asarray(picture)[:, middle:], np.asarray(image)[:, middle:])
    assert edited[0].tobytes() != edited[1].tobytes()
    assert edited.passes < words.system.preset.steps
    assert same(words.edit(image, "red apple", mask=mask, feather=2, seed=6, guidance=2.0)[0], edited[1])


def test_kept_tokens_never_change(words: parvis.Pipeline) -> None:
    image, mask, _ = split_mask(words)
    system, edit = words.system, words.prepare(image, mask)
    known = edit.known(system.grid, system.tokenizer.factor, [0])[0]
    codes = system.tokenizer.encode(edit.pixels)[0]
    for step in words.stream("blue cat", edit=edit):
        assert torch.equal(step._codes[0, known], codes[known])
        assert bool(step.known[0, known].all())


def test_outpainting_and_variations(words: parvis.Pipeline) -> None:
    image, _, _ = split_mask(words)
    wide = words.edit(image, "red apple", margins=(image.width // 2, image.height // 2) * 2)
    assert wide[0].size == image.size and wide.settings["edit"] == "outpaint"
    varied = words.edit(image, ["red apple", "blue cat"], keep=0.5, steps=3)
    assert len(varied) == 2 and varied.passes == 3 and varied[0].tobytes() != varied[1].tobytes()


def test_an_edit_needs_one_kind_and_a_model_that_keeps_tokens(words: parvis.Pipeline) -> None:
    image, mask, _ = split_mask(words)
    with pytest.raises(UsageError, match="exactly one of mask"):
        words.edit(image, "red apple", mask=mask, keep=0.5)
    with pytest.raises(UsageError, match="exactly one of mask"):
        words.edit(image, "red apple")
    par = parvis.Pipeline(BUILDERS["par"](), device="cpu", precision="fp32")
    with pytest.raises(UsageError, match="cannot be given known tokens"):
        par.edit(*split_mask(par)[:1], 1, mask=split_mask(par)[1])


def test_a_raster_model_edits_from_its_order_on(words: parvis.Pipeline) -> None:
    raster = parvis.Pipeline(BUILDERS["raster"](), device="cpu", precision="fp32")
    image, right, _ = split_mask(raster)
    lower = Image.new("L", image.size, 0)
    lower.paste(255, (0, image.height // 2, image.width, image.height))
    edited = raster.edit(image, 1, mask=lower, feather=0)
    half = image.height // 2
    assert np.array_equal(np.asarray(edited[0])[:half], np.asarray(image)[:half])
    with pytest.raises(UsageError, match="continues what comes first in its order"):
        raster.edit(image, 1, mask=right)


def test_other_orders_by_name_by_planner_and_as_data(words: parvis.Pipeline) -> None:
    grid = words.system.grid
    named = words.generate("red apple", n=2, seed=3, steps=5, order="random")
    assert named.settings["order"] == "random" and named.passes == 5
    planned = words.generate("red apple", n=2, seed=3, steps=5, order=PLANNERS["random"])
    sizes = group_sizes(grid.tokens, 5)
    each = random(grid, sizes, parvis.Noise((3, 4)))
    given = words.generate("red apple", n=2, seed=3, order=each)
    in_batches = words.generate("red apple", n=2, seed=3, order=each, batch=1)
    assert planned.settings["order"] == given.settings["order"] == "custom"
    for others in (planned, given, in_batches):
        assert all(same(a, b) for a, b in zip(named, others, strict=True))
    own = words.generate("red apple", n=2, seed=3, steps=5)
    assert own.settings["order"] == "own" and not same(own[0], named[0])


def test_the_order_fixes_the_passes(words: parvis.Pipeline) -> None:
    assert words.generate("red apple", order="raster").passes == 16
    first = next(words.stream("red apple", order="raster", seed=0))
    assert first.known[0].tolist() == [True] + [False] * 15 and first.total == 16
    with pytest.raises(parvis.UsageError, match="16 passes"):
        words.generate("red apple", order="raster", steps=5)


def test_orders_that_do_not_fit(words: parvis.Pipeline) -> None:
    with pytest.raises(parvis.UnknownName, match="'raster'"):
        words.generate("red apple", order="rastre")
    with pytest.raises(parvis.UsageError, match="its grid has 16"):
        words.generate("red apple", order=raster(parvis.Grid.square(3)))
    with pytest.raises(parvis.UsageError, match="given"):
        words.generate("red apple", order=parvis.Order(torch.arange(16), (12,), 4))
    with pytest.raises(parvis.UsageError, match="for 2 images, not for 3"):
        words.generate("red apple", n=3, order=random(words.system.grid, (16,), parvis.Noise((0, 1))))
    for name in ("raster", "par", "var"):
        torch.manual_seed(7)
        fixed = parvis.Pipeline(BUILDERS[name](), device="cpu", precision="fp32")
        with pytest.raises(parvis.IncompatibleParts, match="one order only"):
            fixed.generate(1, order="raster")


def test_progress_counts_the_passes_of_all_batches(words: parvis.Pipeline) -> None:
    told: list[tuple[int, int]] = []
    words.generate("red apple", n=3, steps=4, batch=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 8) for done in range(1, 9)]
    with pytest.raises(parvis.UsageError, match="batch is 0"):
        words.generate("red apple", batch=0)


@pytest.mark.usefixtures("bundle")
def test_emoji_is_the_best_of_the_bundled_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parvis.load("emoji").name == "toy"
    monkeypatch.setattr(catalog, "BUNDLED", tmp_path)
    for name, resolution, kind in (("a-small", 16, "lpd"), ("b-large", 24, "lpd"), ("c-raster", 32, "raster")):
        save_toy(tmp_path / name, name=name, resolution=resolution, kind=kind)
    assert parvis.Pipeline.from_pretrained("emoji").name == "b-large"


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize("limit", ["5GB", "20KB"])
def test_a_saved_pipeline_is_the_one_that_was_loaded(models: Path, limit: str) -> None:
    pipeline = parvis.load("toy", precision="fp32")
    folder = pipeline.save_pretrained("copy", max_shard_size=limit)
    assert len(list(folder.glob("*.safetensors"))) == (2 if limit == "5GB" else 10)
    again = parvis.Pipeline.from_pretrained(folder, precision="fp32")
    assert same(again.generate("red apple", seed=1)[0], pipeline.generate("red apple", seed=1)[0])
    before, after = load_config(models / "toy"), load_config(folder)
    assert (after.arguments, after.about, after.parameters) == (before.arguments, before.about, before.parameters)
    if limit == "5GB":
        assert after.files == before.files  # byte for byte


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.int8])
def test_weights_are_saved_as_they_were_stored(models: Path, kind: torch.dtype) -> None:
    config = load_config(models / "toy")
    system, _ = read_folder(models / "toy")
    stored = {}
    for file, module in parts(system).items():
        state = module.state_dict()
        stored[file] = to_int8(state, least=64) if kind == torch.int8 else {k: t.to(kind) for k, t in state.items()}
    documents = {"words.json": {"words": ["apple", "green", "red"], "slots": 4}}
    save_folder("small", config, stored, documents)
    pipeline = parvis.load("./small", precision="fp32")
    pipeline.save_pretrained("again")
    for file in stored:
        found = load_file(Path("again") / file)
        assert {name: t.dtype for name, t in found.items()} == {name: t.dtype for name, t in stored[file].items()}
        for name, tensor in stored[file].items():
            if tensor.dtype == torch.float32:  # scales: the quotient may differ in the last place
                torch.testing.assert_close(found[name], tensor, rtol=3e-7, atol=0)
            else:
                assert torch.equal(found[name], tensor)


@pytest.mark.usefixtures("bundle")
def test_rounded_weights_and_unnamed_parts_are_not_saved(words: parvis.Pipeline) -> None:
    with pytest.raises(parvis.UsageError, match="precision='fp32'"):
        parvis.load("toy", precision="bf16").save_pretrained("rounded")
    with pytest.raises(parvis.UsageError, match="made from parts"):
        words.save_pretrained("parts")
    with pytest.raises(parvis.UsageError, match="no file size"):
        parvis.load("toy").save_pretrained("copy", max_shard_size="much")
    assert list(Path().iterdir()) == []
    Path("other").mkdir()
    Path("other/file").write_text("mine")
    with pytest.raises(parvis.OutputError, match="not replaced"):
        parvis.load("toy", precision="fp32").save_pretrained("other")


def test_every_published_system_can_be_named_in_a_folder() -> None:
    for name in PUBLISHED:
        config = published(name)
        text = replace(config, files={"model.safetensors": FileRecord(1, "0" * 64)}).to_json()
        assert parse_config(text, "config.json").arguments == config.arguments
    assert published("par-l-384-16x").arguments == {"size": "l", "resolution": 384, "parallel_tokens": 16}
    assert build(published("lpd-xl-512")).name == "lpd-xl-512"
