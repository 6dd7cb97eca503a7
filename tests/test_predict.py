import torch

from parvis.noise import Noise
from parvis.predict import Categorical
from parvis.sampling import Sampling, choose

LOGITS = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
NULL = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))


def test_guidance_moves_away_from_null():
    main, null = Categorical(LOGITS), Categorical(NULL)
    assert torch.allclose(main.guide(null, 1.0).logits, LOGITS)
    assert torch.equal(main.guide(null, 0.0).logits, NULL)
    assert torch.allclose(main.guide(null, 3.0).logits, 3 * LOGITS - 2 * NULL, atol=1e-5)


def test_guidance_by_rank_and_by_image():
    main, null = Categorical(LOGITS), Categorical(NULL)
    by_rank = main.guide(null, torch.tensor([1.0, 2.0, 0.0])).logits
    for rank, scale in enumerate((1.0, 2.0, 0.0)):
        assert torch.allclose(by_rank[:, rank], main.guide(null, scale).logits[:, rank])
    by_image = main.guide(null, torch.tensor([[2.0] * 3, [5.0] * 3])).logits
    assert torch.allclose(by_image[1], main.guide(null, 5.0).logits[1])


def test_sampling_takes_the_uniforms_of_its_positions_and_draw():
    noise, positions = Noise([3, 4]), torch.tensor([[7, 1, 2], [0, 5, 9]])
    made = Categorical(LOGITS).sample(noise, positions, Sampling(), draw=2)
    assert torch.equal(made, choose(LOGITS, noise.uniform(positions, 2), Sampling()))


def test_log_prob_and_confidence():
    values = torch.tensor([[0, 4, 2], [1, 1, 3]])
    expected = LOGITS.log_softmax(-1).gather(-1, values[..., None])[..., 0]
    assert torch.allclose(Categorical(LOGITS).log_prob(values), expected, atol=1e-6)
    assert torch.allclose(Categorical(LOGITS + 5).confidence(values), expected.exp(), atol=1e-6)
