"""VAR's multi-scale tokenizer."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from parvis.grid import Grid
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.verify.case import Case
from parvis.verify.compare import PIXELS, Check, close, load_state, tokens
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c = case.config
    tokenizer = MultiScaleVQ(
        MultiScaleConfig(
            sides=tuple(c["patch_nums"]), multipliers=tuple(c["ch_mult"]), z_channels=c["z_channels"], codes=c["vocab"],
            channels=case.tensors["weights.encoder.conv_in.weight"].shape[0],
        )
    )  # fmt: skip
    load_state(tokenizer, maps.VAR_VQ, case.weights(), "VAR's tokenizer")
    images, codes = case.inputs("images"), case.inputs("codes")
    grid, other = Grid.pyramid(c["patch_nums"]), Grid.pyramid(c["other_patch_nums"])
    yield close("latents", tokenizer.latents(images), case.tensors["outputs.latents"])
    yield tokens("indices", tokenizer.encode(images), case.tensors["outputs.indices"])
    yield tokens(
        "indices, other scales", tokenizer.encode(images, other), case.tensors["outputs.indices_other_schedule"]
    )
    for name, values in (("images", tokenizer.encode(images)), ("codes", codes)):
        stacked = torch.stack(list(tokenizer.quantize.sums(values, grid, len(grid.scales))))
        yield close(f"f_hat of {name}", stacked, case.tensors[f"outputs.f_hat_per_scale.{name}"])
    yield close("teacher input", tokenizer.teacher_input(codes, grid), case.tensors["outputs.teacher_input"])
    decoded = tokenizer.decode(codes, grid).clamp(-1, 1)
    yield close("decoded codes", decoded, case.tensors["outputs.decoded_codes"], PIXELS, 0.0)
    sums = tokenizer.quantize.sums(tokenizer.encode(images), grid, len(grid.scales))
    rebuilt = torch.stack([tokenizer.render(f_hat).clamp(-1, 1) for f_hat in sums])
    yield close("reconstruction", rebuilt, case.tensors["outputs.reconstruction_per_scale"], PIXELS, 0.0)
