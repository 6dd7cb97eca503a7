import math

import pytest
import torch

from parvis.errors import UsageError
from parvis.noise import ORDER, Noise, spread

MASK = (1 << 64) - 1
SEEDS = (0, 1, 2**32, 2**63 - 1)


def mixed(state, word):
    """splitmix64 on Python's own whole numbers."""
    h = (state + word * 0x9E3779B97F4A7C15) & MASK
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & MASK
    return h ^ (h >> 31)


@pytest.mark.parametrize("draw", [0, 7, ORDER])
def test_numbers_are_the_documented_hash_and_never_change(draw):
    made = Noise(SEEDS).uniform(torch.arange(5), draw, width=3)
    for b, seed in enumerate(SEEDS):
        for position in range(5):
            h = mixed(mixed(mixed(seed, 1), draw), position)
            assert Noise([seed]).uniform(torch.tensor([position]), draw).item() == (h >> 40) / 2**24
            for column in range(3):
                assert made[b, position, column].item() == (mixed(h, column + 1) >> 40) / 2**24


def test_shapes_types_and_range():
    noise = Noise(SEEDS)
    for draw in (noise.uniform, noise.normal):
        assert draw(torch.arange(6)).shape == (4, 6)
        assert draw(torch.arange(24).reshape(4, 6)).shape == (4, 6)
        assert draw(torch.arange(6), 3, width=5).shape == (4, 6, 5)
        assert draw(torch.arange(6)).dtype == torch.float32
    u = noise.uniform(torch.arange(100_000))
    assert u.min() >= 0 and u.max() < 1
    assert noise.normal(torch.arange(100_000)).isfinite().all()


def test_a_number_belongs_to_its_seed_position_and_draw_alone():
    noise = Noise(SEEDS)
    positions = torch.stack([torch.randperm(50, generator=torch.Generator().manual_seed(b)) for b in range(4)])
    whole = noise.normal(torch.arange(50), 2, width=3)
    assert torch.equal(noise.normal(positions, 2, width=3), whole.gather(1, positions[..., None].expand(-1, -1, 3)))
    for b, seed in enumerate(SEEDS):
        assert torch.equal(Noise(torch.tensor([seed])).normal(torch.arange(50), 2, width=3)[0], whole[b])
    other = Noise([s + 1 for s in SEEDS[:3]])
    assert not (other.normal(torch.arange(50), 2, width=3) == whole[:3]).any()


def test_several_noises_at_once_give_what_each_gives():
    asked = [(Noise([seed]), torch.randperm(9)[: 2 + b], b % 2) for b, seed in enumerate(SEEDS)]
    alone = [noise.uniform(positions, draw) for noise, positions, draw in asked]
    assert torch.equal(Noise.uniforms(asked), torch.cat(alone, 1))
    assert torch.equal(Noise.uniforms([(n, p[None], d) for n, p, d in asked]), torch.cat(alone, 1))


def test_uniform_in_64_bins():
    for u in Noise((0, 1, 12345)).uniform(torch.arange(200_000), draw=1):
        counts = (u * 64).long().bincount(minlength=64).double()
        chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum().item()
        assert 63 - 5 * math.sqrt(126) < chi2 < 63 + 5 * math.sqrt(126)


@pytest.mark.parametrize("axis", ["position", "draw", "seed", "column"])
def test_neighbours_are_independent(axis):
    """64 x 64 cells of (number, its neighbour's number) along each axis fill evenly, in high and in low bits."""
    n, cells = torch.arange(100_000), torch.arange(25_000)
    a, b = {
        "position": lambda: (Noise([5]).uniform(n), Noise([5]).uniform(n + 1)),
        "draw": lambda: (Noise([5]).uniform(n, 3), Noise([5]).uniform(n, 4)),
        "seed": lambda: (Noise(range(4)).uniform(cells), Noise(range(1, 5)).uniform(cells)),
        "column": lambda: Noise([5]).uniform(n, 0, width=2).unbind(-1),
    }[axis]()
    for scale in (1, 2**12):
        pairs = ((a * scale % 1 * 64).long() * 64 + (b * scale % 1 * 64).long()).flatten()
        counts = pairs.bincount(minlength=4096).double()
        chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum().item()
        assert abs(chi2 - 4095) < 5 * math.sqrt(2 * 4095)


def test_normals_are_normal():
    z = Noise([9]).normal(torch.arange(200_000), width=1).flatten().double()
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01
    cdf = 0.5 * (1 + torch.erf(z.sort().values / math.sqrt(2)))
    assert (cdf - torch.linspace(0, 1, len(z)).double()).abs().max() < 1.7 / math.sqrt(len(z))


def test_spread_makes_independent_uniforms_of_one():
    u = Noise([1]).uniform(torch.arange(4000))[0]
    made = spread(u, 64)
    assert made.shape == (4000, 64) and made.min() > 0 and made.max() < 1
    counts = (made * 64).long().flatten().bincount(minlength=64).double()
    assert ((counts - 4000) ** 2 / 4000).sum() < 63 + 5 * math.sqrt(126)
    assert abs(torch.corrcoef(torch.stack([u, *made.unbind(1)[:8]])) - torch.eye(9)).max() < 5 / math.sqrt(4000)
    assert torch.equal(spread(u[7:8], 64)[0], made[7])


def test_permutations_are_permutations_and_uniform():
    noise = Noise(range(6000))
    orders = noise.permutation(4, ORDER)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(4).expand(6000, 4))
    counts = (orders * torch.tensor([64, 16, 4, 1])).sum(dim=1).bincount().double()
    counts = counts[counts > 0]
    assert len(counts) == 24
    assert ((counts - 250) ** 2 / 250).sum() < 23 + 5 * math.sqrt(46)
    assert not torch.equal(noise.permutation(4, ORDER + 1), orders)


@pytest.mark.parametrize("seeds", [[-1], [2**63], [0.5], ["1"], [], torch.tensor([0.5]), torch.tensor(3)])
def test_bad_seeds_are_refused(seeds):
    with pytest.raises(UsageError):
        Noise(seeds)


def test_moving_keeps_the_numbers():
    noise = Noise(SEEDS)
    assert torch.equal(noise.to("cpu").uniform(torch.arange(3)), noise.uniform(torch.arange(3)))
    assert len(noise) == 4 and noise.device.type == "cpu"
