"""LlamaGen's tokenizers, VQ-16 and its kin."""

from __future__ import annotations

from collections.abc import Iterator

from parvis.grid import Grid
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.verify.case import Case
from parvis.verify.compare import PIXELS, Check, close, load_state, tokens
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c = case.config
    tokenizer = VQGAN(
        VQConfig(
            channels=c["ch"],
            multipliers=tuple(c["ch_mult"]),
            z_channels=c["z_channels"],
            codes=c["codebook"],
            code_dim=c["code_dim"],
        )
    )
    load_state(tokenizer, maps.VQ16, case.weights(), "VQ-16")
    images, codes = case.inputs("images"), case.inputs("codes")
    grid = Grid.image(*c["code_grid"])
    indices = tokenizer.encode(images)
    yield close("latents", tokenizer.latents(images), case.tensors["outputs.latents"])
    yield tokens("indices", indices, case.tensors["outputs.indices"])
    theirs = case.tensors["outputs.quantized"]
    quantized = tokenizer.quantize.lookup(indices).mT.reshape(theirs.shape)
    yield close("quantised", quantized, theirs)
    yield close("decoded codes", tokenizer.decode(codes, grid), case.tensors["outputs.decoded_codes"], PIXELS, 0.0)
    rebuilt = tokenizer.decode(indices, tokenizer.grid(*images.shape[-2:]))
    yield close("reconstruction", rebuilt, case.tensors["outputs.reconstruction"], PIXELS, 0.0)
