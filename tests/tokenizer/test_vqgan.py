"""VQ-16 against the authors' own numbers, and the small relatives (patch, blank, no attention)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.tokenizer.vqgan import VQGAN, VQConfig, fold, unfold

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = VQConfig(16, (1, 2), 1, 1, False, 8, 8, 32, 4, patch=2, blank=True)


def golden(case: str) -> tuple[VQGAN, dict[str, torch.Tensor]]:
    tensors = load_file(GOLDEN / f"{case}.safetensors")
    config = json.loads((GOLDEN / f"{case}.json").read_text())["config"]
    model = VQGAN(
        VQConfig(
            channels=config["ch"],
            multipliers=tuple(config["ch_mult"]),
            z_channels=config["z_channels"],
            codes=config["codebook"],
            code_dim=config["code_dim"],
        )
    )
    weights = {k[8:]: v.float() for k, v in tensors.items() if k.startswith("weights.")}
    weights.pop("quantize.codebook_used", None)
    model.load_state_dict(weights, strict=True)
    return model.eval(), tensors


def near(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> None:
    assert (ours - theirs).abs().max() <= tolerance * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("case", ["vq16_deep", "vq16_wide"])
def test_equals_the_authors(case: str) -> None:
    model, t = golden(case)
    images, codes = t["inputs.images"], t["inputs.codes"]
    grid = model.grid(*images.shape[-2:])
    with torch.no_grad():
        near(model.latents(images), t["outputs.latents"], 1e-5)
    assert torch.equal(model.encode(images), t["outputs.indices"])
    quantized = model.quantize.lookup(t["outputs.indices"]).movedim(-1, 1).unflatten(-1, (grid.height, grid.width))
    near(quantized, t["outputs.quantized"], 1e-5)
    near(model.decode(codes, grid), t["outputs.decoded_codes"], 1e-4)
    near(model.decode(model.encode(images), grid), t["outputs.reconstruction"], 1e-4)


def test_the_defaults_are_vq16() -> None:
    with torch.device("meta"):
        model = VQGAN(VQConfig())
    shapes = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    assert model.factor == 16 and model.vocabulary == 16384
    assert shapes["encoder.conv_blocks.2.res.0.nin_shortcut.weight"] == (256, 128, 1, 1)
    assert shapes["encoder.conv_blocks.4.attn.1.proj_out.weight"] == (512, 512, 1, 1)
    assert shapes["decoder.conv_blocks.0.attn.2.q.weight"] == (512, 512, 1, 1)
    assert shapes["quantize.embedding.weight"] == (16384, 8)
    assert sum(p.numel() for p in model.parameters()) == 71_883_403
    assert VQGAN(SMALL).factor == 4


def test_folding_is_undone_by_unfolding() -> None:
    x = torch.rand(2, 3, 8, 12)
    assert torch.equal(unfold(fold(x, 4), 4), x)
    assert fold(x, 1) is x


def test_blank_cells_get_code_0_and_no_other_cell_does() -> None:
    model = VQGAN(SMALL)
    pixels = torch.ones(1, 3, 8, 12)
    pixels[0, 1, 5, 9] = 0.0  # one green value inside the last cell of a 2 x 3 grid
    codes = model.encode(pixels)
    assert codes[0, :5].tolist() == [0] * 5 and codes[0, 5] != 0
    assert (model.encode(torch.rand(4, 3, 16, 16) * 1.5 - 1) != 0).all()


def test_without_blank_code_0_is_a_code_like_any_other() -> None:
    model, pixels = VQGAN(VQConfig(16, (1, 2), 1, 1, False, 8, 8, 2, 4)), torch.ones(1, 3, 4, 4)
    assert not model.blanks(pixels).any()
    with torch.no_grad():
        z = model.latents(pixels).mean((2, 3))
        model.quantize.embedding.weight.copy_(torch.cat([z, -z]))
    assert 0 in model.encode(pixels)


def test_any_size_that_is_a_multiple_of_the_factor() -> None:
    model = VQGAN(SMALL)
    for height, width in ((4, 4), (8, 20), (32, 16)):
        grid = model.grid(height, width)
        assert grid == Grid.image(height // 4, width // 4)
        codes = model.encode(torch.rand(2, 3, height, width))
        assert codes.shape == (2, grid.tokens)
        assert model.decode(codes, grid).shape == (2, 3, height, width)
    with pytest.raises(UsageError, match="multiples of 4"):
        model.encode(torch.rand(1, 3, 6, 8))


def test_alone_equals_batched() -> None:
    torch.manual_seed(0)
    model, pixels = VQGAN(SMALL).eval(), torch.rand(3, 3, 16, 16) * 2 - 1
    codes, grid = model.encode(pixels), model.grid(16, 16)
    assert torch.equal(codes[1:2], model.encode(pixels[1:2]))
    torch.testing.assert_close(model.decode(codes, grid)[1:2], model.decode(codes[1:2], grid), atol=1e-5, rtol=0)


def test_a_single_scale_has_no_view() -> None:
    with pytest.raises(UsageError, match="no view of scale 1"):
        VQGAN(SMALL).view(None, 1)  # type: ignore[arg-type]


def test_widths_that_do_not_divide_into_groups_are_refused() -> None:
    with pytest.raises(UsageError, match="24 groups"):
        VQConfig(channels=32, groups=24)


def test_bfloat16_weights_decode_nearly_the_same_and_take_float32_pixels() -> None:
    torch.manual_seed(0)
    model, pixels = VQGAN(SMALL).eval(), torch.rand(1, 3, 16, 16)
    grid, codes = model.grid(16, 16), model.encode(pixels)
    exact = model.decode(codes, grid)
    model.bfloat16()
    assert model.encode(pixels).shape == codes.shape
    out = model.decode(codes, grid)
    assert out.dtype == torch.bfloat16 and (out.float() - exact).abs().max() < 0.05 * exact.abs().max()
