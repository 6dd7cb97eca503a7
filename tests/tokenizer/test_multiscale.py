"""VAR's tokenizer against the authors' own numbers, and the view of a canvas."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from parvis.canvas import Canvas
from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ, phi_index

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden() -> tuple[MultiScaleVQ, dict[str, torch.Tensor], dict[str, object]]:
    tensors = load_file(GOLDEN / "var_vqvae.safetensors")
    config = json.loads((GOLDEN / "var_vqvae.json").read_text())["config"]
    weights = {k[8:]: v.float() for k, v in tensors.items() if k.startswith("weights.")}
    model = MultiScaleVQ(
        MultiScaleConfig(
            sides=tuple(config["patch_nums"]),
            channels=weights["encoder.conv_in.weight"].shape[0],
            multipliers=tuple(config["ch_mult"]),
            z_channels=config["z_channels"],
            codes=config["vocab"],
        )
    )
    del weights["quantize.ema_vocab_hit_SV"]
    model.load_state_dict(weights, strict=True)
    return model.eval(), tensors, config


def near(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert (ours - theirs).abs().max() <= tolerance * max(1.0, float(theirs.abs().max()))


def test_encode_equals_the_authors(golden) -> None:
    model, t, config = golden
    images = t["inputs.images"]
    with torch.no_grad():
        near(model.latents(images), t["outputs.latents"])
    assert torch.equal(model.encode(images), t["outputs.indices"])
    other = Grid.pyramid(config["other_patch_nums"])
    assert torch.equal(model.encode(images, other), t["outputs.indices_other_schedule"])


@pytest.mark.parametrize("source", ["images", "codes"])
def test_sums_equal_the_authors(golden, source: str) -> None:
    model, t, _ = golden
    codes, grid = t["outputs.indices" if source == "images" else "inputs.codes"], model.grid(8, 8)
    with torch.no_grad():
        sums = torch.stack(list(model.quantize.sums(codes, grid, 4)))
        near(sums, t[f"outputs.f_hat_per_scale.{source}"])
        if source == "images":
            near(
                model.render(sums.flatten(0, 1)).clamp(-1, 1), t["outputs.reconstruction_per_scale"].flatten(0, 1), 1e-4
            )


def test_decode_equals_the_authors(golden) -> None:
    model, t, _ = golden
    near(model.decode(t["inputs.codes"], model.grid(8, 8)).clamp(-1, 1), t["outputs.decoded_codes"], 1e-4)


def test_teacher_input_equals_the_authors_and_the_views(golden) -> None:
    model, t, _ = golden
    codes, grid = t["inputs.codes"], model.grid(8, 8)
    with torch.no_grad():
        near(model.teacher_input(codes, grid), t["outputs.teacher_input"])
    canvas, views = Canvas.empty(2, grid.tokens), []
    for scale in range(4):
        views.append(model.view(canvas, scale))
        positions = torch.arange(grid.offsets[scale], grid.offsets[scale + 1])
        canvas.write(positions, codes[:, positions])
    assert not views[0].any() and views[0].shape == (2, 1, 16)
    near(torch.cat(views[1:], 1), t["outputs.teacher_input"])


def test_a_view_reads_no_code_of_its_own_or_a_later_scale(golden) -> None:
    model, t, _ = golden
    grid, codes = model.grid(8, 8), t["inputs.codes"].clone()
    before = model.look(codes, grid, 2)
    codes[:, grid.offsets[2] :] = 0
    assert torch.equal(model.look(codes, grid, 2), before)
    codes[:, 1] = (codes[:, 1] + 1) % 64
    assert not torch.equal(model.look(codes, grid, 2), before)


def test_phi_of_ten_scales() -> None:
    assert [phi_index(k, 10, 4) for k in range(10)] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]  # halfway: scales 2 and 7
    assert [phi_index(k, 10, 1) for k in range(10)] == [0] * 10
    assert [phi_index(k, 5, 5) for k in range(5)] == [0, 1, 2, 3, 4]


def test_what_does_not_fit_is_refused(golden) -> None:
    model, *_ = golden
    with pytest.raises(UsageError, match="8x8"):
        model.grid(16, 8)
    with pytest.raises(UsageError, match="30"):
        model.view(Canvas.empty(1, 29), 1)
    with pytest.raises(UsageError, match="coarse to fine"):
        MultiScaleConfig(sides=(1, 3, 2))


def test_sums_stay_in_float32_whatever_the_weights_are_stored_in(golden) -> None:
    model, t, _ = golden
    half = MultiScaleVQ(model.config)
    half.load_state_dict(model.state_dict())
    half.bfloat16()
    grid = half.grid(8, 8)
    views = half.teacher_input(t["inputs.codes"], grid)
    assert views.dtype == torch.float32
    assert (views - t["outputs.teacher_input"]).abs().max() < 0.02 * t["outputs.teacher_input"].abs().max()
    assert half.encode(t["inputs.images"]).shape == (2, grid.tokens)
    assert half.decode(t["inputs.codes"], grid).dtype == torch.bfloat16


def test_an_unfinished_canvas_shows_the_scales_that_are_whole(golden) -> None:
    model, _, config = golden
    grid = Grid.pyramid(config["patch_nums"])
    codes = torch.randint(1, model.vocabulary, (3, grid.tokens), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        sums = [model.render(part) for part in model.quantize.sums(codes, grid, len(grid.scales))]
    full = Canvas(codes, torch.ones_like(codes, dtype=torch.bool))
    assert torch.equal(model.show(full, grid), model.decode(codes, grid))
    for k, end in enumerate(grid.offsets[1:]):
        canvas = Canvas.empty(3, grid.tokens)
        canvas.write(torch.arange(end).expand(3, -1), codes[:, :end])
        near(model.show(canvas, grid), sums[k])
    shallow = Canvas.empty(3, grid.tokens)
    shallow.write(torch.arange(grid.offsets[2]).expand(3, -1), codes[:, : grid.offsets[2]])
    mixed = Canvas(torch.cat([codes, shallow.values]), torch.cat([full.known, shallow.known]))
    both = model.show(mixed, grid)  # canvases of one batch may be at different scales
    near(both[:3], sums[-1])
    near(both[3:], sums[1])
