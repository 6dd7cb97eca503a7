"""The published trainings: their settings as their sources have them, and each trains for a step at toy size."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvis.assemble import build, published
from parvis.cli import main
from parvis.data.encode import encode_images
from parvis.data.source import open_data
from parvis.pipeline import load
from parvis.systems import lpd
from parvis.tokenizer.folder import Known, read_tokenizer, save_tokenizer
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.rates import rate
from recipes.families import objective
from recipes.published import SIZES, take_weights, with_dropout
from recipes.settings import IMAGENET, TRAININGS

BY_FAMILY = {how.kind: name for name, how in reversed(TRAININGS.items())}


@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_is_of_a_system_that_is_taught_that_way(name: str) -> None:
    system, how = build(published(name)), TRAININGS[name]
    objective(how.kind, system)
    config = how.config(IMAGENET)
    assert config.steps == round(how.epochs * IMAGENET / how.batch) and config.warmup < config.steps
    assert str(published(name).arguments["size"]) in SIZES[how.kind] and how.source in how.text(name)


def rates(name: str, *epochs: float) -> list[float]:
    """The learning rate at these epochs of the published run."""
    c, how = TRAININGS[name].config(IMAGENET), TRAININGS[name]
    steps = [min(c.steps - 1, round(epoch / how.epochs * c.steps)) for epoch in epochs]
    return [c.lr * rate(step, c.steps, c.warmup, c.schedule, c.floor, c.decay) for step in steps]


def test_rates_at_the_epochs_that_the_sources_name() -> None:
    assert rates("lpd-l-256", 25, 50, 400, 450) == pytest.approx([4e-4, 8e-4, 8e-4, 1e-5], rel=2e-3)
    assert rates("lpd-l-256", 412.5, 425, 437.5) == pytest.approx(
        [1e-5 + 7.9e-4 * (0.5 + 0.5 * math.cos(math.pi * part)) for part in (0.25, 0.5, 0.75)], rel=1e-3
    )
    assert rates("lpd-l-512", 1, 25.5, 50) == pytest.approx([2e-4, 1.05e-4, 1e-5], rel=2e-3)
    assert rates("nar-xl-256", 0, 149.9, 150, 199.9, 200, 249.9, 250, 300) == pytest.approx(
        [1e-4, 1e-4, 2e-5, 2e-5, 4e-6, 4e-6, 8e-7, 8e-7]
    )
    assert rates("lpd-xl-256", 50, 450) == pytest.approx([4e-4, 1e-5], rel=2e-3)
    assert rates("par-xxl-384-4x", 7.5, 15) == pytest.approx([1e-4, 2e-4], rel=2e-3)
    assert rates("par-xl-384-4x", 157.5, 300) == pytest.approx([5e-5, 0], rel=2e-2, abs=1e-9)
    assert rates("llamagen-l-256", 0, 150, 300) == pytest.approx([1e-4] * 3)
    assert rates("arpg-l-256", 50, 100, 400) == pytest.approx([2e-4, 4e-4, 1e-5], rel=2e-3)
    assert TRAININGS["randar-l-256"].config(IMAGENET).steps == 360_000
    assert TRAININGS["randar-l-256"].config(IMAGENET).warmup == 50_000
    assert rates("randar-l-256", 1000) == pytest.approx([2e-5])
    assert rates("var-d16-256", 4, 14, 200) == pytest.approx([3e-4, 3e-4, 3e-5], rel=2e-3)
    assert rates("var-d30-256", 350) == pytest.approx([3.2e-6], rel=2e-2)
    assert rates("mar-l-256", 100, 800) == pytest.approx([8e-4] * 2) and rates("xar-h-256", 800) == pytest.approx(
        [4e-4]
    )


def test_what_is_dropped_reaches_the_layers() -> None:
    model = build(published("lpd-l-256")).models["main"]
    with_dropout(model, 0.25)
    assert {module.dropout for module in model.modules() if hasattr(module, "dropout")} == {0.25}
    assert {block.drop_path for block in model.blocks} == {0.0}
    assert {block.attention.weight_dropout for block in model.blocks} == {0.0}
    how, mar = TRAININGS["mar-b-256"], build(published("mar-b-256")).models["main"]
    with_dropout(mar, how.dropout, how.weight_dropout, how.drop_path)
    assert {block.attention.weight_dropout for block in (*mar.encoder, *mar.decoder)} == {0.1}


@pytest.mark.parametrize("depth", [16, 20, 24, 30])
def test_var_leaves_out_deeper_blocks_more_often(depth: int) -> None:
    """VAR: 0.1 d / 24 at the last block, rising in a straight line from 0."""
    how, model = TRAININGS[f"var-d{depth}-256"], build(published(f"var-d{depth}-256")).models["main"]
    with_dropout(model, how.dropout, how.weight_dropout, how.drop_path)
    expected = torch.linspace(0, 0.1 * depth / 24, depth)
    torch.testing.assert_close(torch.tensor([block.drop_path for block in model.blocks]), expected)
    assert how.config(IMAGENET).last_weight_decay == (0.08 if depth == 30 else None)


def test_what_the_sources_name_reaches_the_loop() -> None:
    assert TRAININGS["randar-l-256"].config(IMAGENET).skip_above == 10
    assert TRAININGS["par-xl-384-4x"].weight_dropout == 0.1
    assert {TRAININGS[name].crop for name in ("llamagen-b-256", "llamagen-3b-384")} == {"twenty"}
    assert all("Not as there" not in how.text(name) for name, how in TRAININGS.items() if how.kind != "var")


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("published"), np.random.default_rng(0)
    for i in range(8):
        (root / "pictures" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "pictures" / "ab"[i % 2] / f"{i}.png")
    torch.manual_seed(0)
    tokenizers: dict[str, Known] = {
        "vq": VQGAN(VQConfig(8, (1, 1, 1), 1, 1, False, 4, 8, 16, 4)),
        "kl": KL(KLConfig(channels=8, multipliers=(1, 1, 1), blocks=1, groups=4, z_channels=3)),
        "scales": MultiScaleVQ(MultiScaleConfig((1, 2, 4), 8, (1, 1, 1), 1, 4, 8, 16)),
    }
    for name, tokenizer in tokenizers.items():
        for crop, flip in (("centre", True), ("ten", False), ("twenty", False)):
            folder, images = root / f"tok-{name}", open_data(root / "pictures", 16).cut(crop)
            if not folder.exists():
                save_tokenizer(folder, tokenizer)
            where = root / f"{name}-{crop}-{flip}"
            encode_images(images, read_tokenizer(folder), where, flip=flip, tokenizer_folder=str(folder))
    return root


@pytest.mark.parametrize("kind", BY_FAMILY)
def test_a_smaller_model_trains_by_the_published_settings(kind: str, caches: Path, tmp_path: Path) -> None:
    name = BY_FAMILY[kind]
    how = TRAININGS[name]
    data = caches / f"{ {'mar': 'kl', 'xar': 'kl'}.get(kind, 'vq') }-{how.crop}-{how.flip}"
    if kind == "var":  # its pictures are cut anew at every step
        data = caches / "pictures"
    call = ["train", name, "--data", str(data), "-o", str(tmp_path), "--depth", "2", "--width", "64"]
    call += ["--tokenizer", str(caches / "tok-scales"), "--resolution", "16"] if kind == "var" else []
    assert main([*call, "--steps", "2", "--batch", "4"]) == 0
    system = load(tmp_path / "model").system
    assert system.name.startswith(f"{kind}-small") and system.classes == ("a", "b")


def test_larger_pictures_start_from_the_model_of_smaller_ones(
    caches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LPD, section 4.1: the weights of 256 pixels, the positions interpolated to 512; here 16 and 32."""
    toy = ["--depth", "2", "--width", "64", "--batch", "2"]
    first = ["train", "lpd-l-256", "--data", str(caches / "vq-centre-True"), "-o", str(tmp_path / "a"), *toy]
    assert main([*first, "--steps", "1"]) == 0
    second = ["train", "lpd-l-512", "--data", str(caches / "pictures"), "--tokenizer", str(caches / "tok-vq")]
    second += ["--resolution", "32", "-o", str(tmp_path / "b"), *toy, "--steps", "1"]
    assert main(second) == 2
    assert "lpd-l-512 starts from a trained lpd-l-256: give --start DIR" in capsys.readouterr().err
    assert main([*second, "--start", str(tmp_path / "a/model")]) == 0
    before, after = (load(tmp_path / run / "model").system for run in "ab")
    assert (before.grid.tokens, after.grid.tokens) == (16, 64)
    fresh = load(tmp_path / "b/model").system  # one step at 1/100 of a small rate moves next to nothing
    take_weights(fresh, "lpd", tmp_path / "a/model")
    for name, tensor in fresh.models["main"].state_dict().items():
        torch.testing.assert_close(after.models["main"].state_dict()[name], tensor, atol=1e-5, rtol=0)
    table = before.models["main"].positions.table
    wide = lpd.stretched(table, before.grid, after.grid)
    torch.testing.assert_close(after.models["main"].positions.table, wide, atol=1e-5, rtol=0)
    other = ["--depth", "3", "--start", str(tmp_path / "a/model"), "-o", str(tmp_path / "c")]
    assert main([*second, *other]) == 2
    assert "same family, size and classes" in capsys.readouterr().err


def test_pictures_that_are_cut_anew_cannot_come_from_a_cache(
    caches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "var-d16-256", "-o", str(tmp_path), "--depth", "2"]
    assert main([*call, "--data", str(caches / "scales-centre-True")]) == 2
    assert "cuts its pictures elsewhere in every epoch" in capsys.readouterr().err
    assert main([*call, "--data", str(caches / "pictures")]) == 2
    assert "give --tokenizer DIR" in capsys.readouterr().err


def test_the_cut_of_a_cache_must_be_the_published_one(
    caches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "par-xl-384-4x", "--data", str(caches / "vq-centre-True"), "-o", str(tmp_path), "--depth", "2"]
    assert main(call) == 1
    assert "crop: cache 'centre', wanted 'ten'; flip: cache True, wanted False" in capsys.readouterr().err
