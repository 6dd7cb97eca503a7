"""Muon for convolutions: orthogonal steps of AdamW's size."""

import pytest
import torch

from parvis.train.muon import ConvMuon, orthogonalize


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_come_close_to_one_and_directions_stay(shape: tuple[int, int]) -> None:
    u, _, vh = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)), full_matrices=False)
    spectrum = torch.logspace(-1, 1, min(shape))
    found = orthogonalize(u * spectrum @ vh)
    assert torch.linalg.svdvals(found).min() > 0.5 and torch.linalg.svdvals(found).max() < 1.4
    assert torch.trace(u.T @ found @ vh.T) > 0.7 * min(shape)


def test_a_step_has_the_size_of_adamws_whatever_the_gradients_size() -> None:
    for scale in (1e-4, 1e4):
        weight = torch.nn.Parameter(torch.zeros(16, 8, 3, 3))
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * scale
        ConvMuon([weight], lr=0.1, weight_decay=0.0).step()
        assert 0.1 < weight.detach().square().mean().sqrt() / 0.1 < 0.4  # AdamW: between 0.2 and 0.4 in practice


def test_it_goes_downhill_and_weights_decay() -> None:
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(4, 4, 3, padding=1, bias=False), torch.randn(2, 4, 8, 8)
    optimizer, losses = ConvMuon(conv.parameters(), lr=0.05), []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (conv(x) - x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    conv.weight.grad = torch.zeros_like(conv.weight)
    before = conv.weight.detach().norm()
    ConvMuon(conv.parameters(), lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(conv.weight.detach().norm(), 0.95 * before)
