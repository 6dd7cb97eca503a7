"""A tiny run learns; a resumed run equals a straight one; what is not finite stops it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from parvis.errors import TrainingError
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.autoencoder import difference_loss, isotropy_loss
from parvis.train.reconstruction import measure, sheet
from parvis.train.tokenizer import PictureSet, TokenizerTraining, as_pixels, pictures, train

CONFIG = VQConfig(8, (1, 2), 1, 1, False, 4, 8, 32, 4, patch=2, blank=True)
HOW = TokenizerTraining(steps=12, warmup=4, log_every=4, revive_every=3, seed=3)


def data(count: int = 16, side: int = 16) -> np.ndarray:
    """White pictures with a coloured box."""
    rng = np.random.default_rng(0)
    images = np.full((count, side, side, 3), 255, np.uint8)
    for image in images:
        y, x = rng.integers(0, side // 2, 2)
        image[y : y + side // 2, x : x + side // 2] = rng.integers(0, 256, 3)
    return images


def draw_of(how: TokenizerTraining):
    return pictures([PictureSet(data(), np.ones(16), 6), PictureSet(data(8, 32), np.ones(8), 1)], how.seed)


def run(folder: Path, how: TokenizerTraining = HOW, draw=None) -> VQGAN:
    torch.manual_seed(how.seed)
    return train(VQGAN(CONFIG), draw or draw_of(how), how, folder, {"box": as_pixels(data())})


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_tiny_run_learns_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, replace(HOW, steps=40))
    entries = log(tmp_path)
    told = capsys.readouterr()
    assert told.err.startswith("step 40/40  psnr ") and f"box psnr {entries[-1]['box.psnr']:.4g}" in told.err
    assert "img/s  ETA 0:00:00" in told.err and not told.out
    assert entries[-1]["mse"] < 0.5 * entries[0]["mse"]
    assert entries[-1]["box.share_0"] > 0.2 and entries[-1]["box.codes"] > 4
    assert (tmp_path / "sheet_box.png").exists() and not (tmp_path / "checkpoint.partial").exists()


def test_resumed_equals_straight_and_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    straight = run(tmp_path / "a").state_dict()

    def interrupted(step: int) -> list[torch.Tensor]:
        if step == 7:
            raise KeyboardInterrupt
        return draw_of(HOW)(step)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", replace(HOW, checkpoint_seconds=0), interrupted)
    resumed = run(tmp_path / "b").state_dict()
    assert [entry["step"] for entry in log(tmp_path / "b")] == [1, 2, 3, 4, 5, 6, 7, 8, 12]
    again = run(tmp_path / "c").state_dict()
    other = run(tmp_path / "d", replace(HOW, seed=4)).state_dict()
    assert all(torch.equal(straight[k], again[k]) for k in straight)
    assert not all(torch.equal(straight[k], other[k]) for k in straight)
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(TrainingError, match="another run"):
        run(tmp_path, replace(HOW, seed=9, steps=20))


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    run(tmp_path, replace(HOW, steps=4))
    good = (tmp_path / "checkpoint.pt").read_bytes()

    def poisoned(step: int) -> list[torch.Tensor]:
        batches = draw_of(HOW)(step)
        return [b * float("nan") for b in batches] if step == 6 else batches

    with pytest.raises(TrainingError, match="not finite"):
        run(tmp_path, HOW, poisoned)
    assert (tmp_path / "checkpoint.pt").read_bytes() == good


def test_pictures_depend_on_seed_and_step_alone_and_respect_weights() -> None:
    images = data(4)
    draw = pictures([PictureSet(images, np.array([0, 0, 1, 0]), 50)], seed=1)
    assert torch.equal(draw(5)[0], draw(5)[0]) and not torch.equal(draw(5)[0], draw(6)[0])
    allowed = as_pixels(np.stack([images[2], images[2, :, ::-1]]))
    assert all((picture == allowed).flatten(1).all(1).any() for picture in draw(0)[0])


def test_measure_of_perfect_and_spoiled_pictures() -> None:
    torch.manual_seed(0)
    model, pixels = VQGAN(CONFIG), torch.ones(2, 3, 16, 16)
    with torch.no_grad():
        model.decoder.conv_out.weight.zero_()
        model.decoder.conv_out.bias.fill_(0.8)  # 0.1 of the range [0, 1] away from white: 20 dB
    found = measure(model, pixels)
    assert found["psnr"] == pytest.approx(20.0, abs=1e-3) and found["psnr_mean"] == pytest.approx(20.0, abs=1e-3)
    assert found["codes"] == 1 and found["entropy"] == pytest.approx(0.0) and found["share_0"] == 1.0
    assert sheet(model, pixels).size == (8 * 16, 2 * 16)


def test_difference_loss_sees_edges_not_brightness() -> None:
    a = torch.rand(1, 3, 16, 16)
    assert difference_loss(a, a + 0.3) == pytest.approx(0.0, abs=1e-6)
    assert difference_loss(a, a.flip(-1)) > 0.05


def test_isotropy_is_zero_on_a_full_frame_and_large_on_one_line() -> None:
    assert isotropy_loss(torch.cat([torch.eye(4), -torch.eye(4)])) == pytest.approx(0.0, abs=1e-6)
    assert isotropy_loss(torch.eye(4)[:1].expand(9, 4)) == pytest.approx(0.75, abs=1e-6)


def test_tuning_the_decoder_alone_leaves_every_code_as_it_was(tmp_path: Path) -> None:
    model = run(tmp_path / "a")
    before, pixels = {k: v.clone() for k, v in model.state_dict().items()}, as_pixels(data())
    codes = model.encode(pixels)
    model.requires_grad_(True)
    how = replace(HOW, decoder_only=True, steps=6)
    tuned = train(model, draw_of(how), how, tmp_path / "b")
    assert torch.equal(tuned.encode(pixels), codes)
    changed = {k.split(".")[0] for k, v in tuned.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"decoder", "post_quant_conv"}
