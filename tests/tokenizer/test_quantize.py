"""Nearest codes on the sphere, and the moving-average codebook with revival."""

import torch
import torch.nn.functional as F

from parvis.tokenizer.quantize import CodebookEMA, VectorQuantizer


def sphere(count: int, dim: int = 4, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_nearest_is_by_direction_not_by_length() -> None:
    quantizer = VectorQuantizer(2, 2)
    quantizer.embedding.weight.data = torch.tensor([[9.0, 0.0], [0.0, 0.1]])
    assert quantizer.nearest(torch.tensor([[0.2, 0.3], [5.0, 4.0]])).tolist() == [1, 0]
    torch.testing.assert_close(quantizer.lookup(torch.tensor([1])), torch.tensor([[0.0, 1.0]]))


def test_many_vectors_equal_one_at_a_time() -> None:
    quantizer, z = VectorQuantizer(16, 4), sphere(5000)
    some = torch.tensor([0, 4095, 4096, 4999])
    assert torch.equal(quantizer.nearest(z)[some], quantizer.nearest(z[some]))


def test_no_vector_is_nearest_to_the_blank_code() -> None:
    quantizer = VectorQuantizer(3, 4, blank=True)
    assert (quantizer.nearest(sphere(100)) > 0).all()
    assert not quantizer.lookup(torch.tensor([0])).any()


def test_codes_move_to_the_mean_of_their_vectors_and_unused_ones_stay() -> None:
    quantizer = VectorQuantizer(3, 4)
    before, z = quantizer.embedding.weight.detach().clone(), sphere(50)
    ema = CodebookEMA(quantizer)
    codes = torch.full((50,), 1)
    for _ in range(20):
        ema.update(z, codes)
    torch.testing.assert_close(quantizer.embedding.weight[1].detach(), F.normalize(z.mean(0), dim=0))
    assert torch.equal(quantizer.embedding.weight[[0, 2]], before[[0, 2]])


def test_dead_codes_are_revived_where_vectors_are_badly_served() -> None:
    """90 vectors sit on code 0; 10 sit far from every code: the dead codes must go to the ten."""
    quantizer = VectorQuantizer(4, 4)
    e = torch.eye(4)
    quantizer.embedding.weight.data = torch.stack([e[0], -e[0], -e[0], -e[0]])
    z = torch.cat([e[0].expand(90, 4), e[1].expand(10, 4)])
    codes, ema = torch.zeros(100, dtype=torch.long), CodebookEMA(quantizer)
    ema.update(e[0].expand(100, 4), codes)
    assert ema.revive(z, codes, torch.Generator().manual_seed(0)) == 3
    assert torch.equal(quantizer.embedding.weight[1:].detach(), e[1].expand(3, 4))


def test_the_blank_code_is_never_revived() -> None:
    quantizer = VectorQuantizer(4, 4, blank=True)
    ema, z = CodebookEMA(quantizer), sphere(64)
    for step in range(5):
        codes = quantizer.nearest(z)
        ema.update(z, codes)
        ema.revive(z, codes, torch.Generator().manual_seed(step))
    assert not quantizer.embedding.weight[0].any()
