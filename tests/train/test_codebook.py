"""Dropping codes that say the same as another one."""

import torch

from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.codebook import merged, usage

CONFIG = VQConfig(8, (1, 2), 1, 1, False, 4, 8, 5, 3, patch=2, blank=True)


def with_codes(rows: list[list[float]]) -> VQGAN:
    model = VQGAN(CONFIG)
    model.quantize.embedding.weight.data = torch.tensor([[0.0, 0.0, 0.0], *rows])
    return model


def test_the_more_used_of_two_near_codes_stays_unused_ones_go_and_blank_stays_first() -> None:
    model = with_codes([[1, 0, 0], [0.999, 0.01, 0], [0, 1, 0], [0, 0, 1]])
    smaller = merged(model, torch.tensor([0, 2, 5, 0, 1]), 0.01)
    assert smaller.vocabulary == smaller.config.codes == 3
    torch.testing.assert_close(smaller.quantize.embedding.weight, model.quantize.embedding.weight[[0, 2, 4]])
    assert merged(model, torch.tensor([0, 2, 5, 1, 1]), 1e-9).vocabulary == 5


def test_a_merge_of_nothing_changes_nothing() -> None:
    model, pixels = with_codes([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 1]]), torch.rand(2, 3, 8, 8)
    same = merged(model, torch.ones(5, dtype=torch.long), 0.01)
    codes, grid = same.encode(pixels), same.grid(8, 8)
    assert torch.equal(codes, model.encode(pixels))
    assert torch.equal(same.decode(codes, grid), model.decode(codes, grid))


def test_usage_counts_cells_over_batches() -> None:
    model = with_codes([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 1]])
    counts = usage(model, [torch.ones(2, 3, 8, 8), torch.rand(1, 3, 8, 8)])
    assert counts[0] == 8 and counts.sum() == 12
