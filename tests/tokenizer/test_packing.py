"""Packed convolutions: the numbers of ``F.conv2d``, the same in any company, and nothing lost."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from parvis.errors import UsageError
from parvis.tokenizer.packing import PackedConv, convolution_problem, pack_convolutions
from toys import EVERY, toy

pytestmark = pytest.mark.skipif(convolution_problem() is not None, reason=str(convolution_problem()))


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.Conv2d(32, 48, 3, stride=2, bias=False),
        nn.Conv2d(48, 16, 1),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4),
    ).eval()


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 33, 17), (5, 3, 64, 64)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_conv2d(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    plain, x = layers(), torch.randn(shape).contiguous(memory_format=layout)
    packed = pack_convolutions(copy.deepcopy(plain))
    assert [type(layer) for layer in packed.children()] == [PackedConv] * 4
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), plain(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_picture_is_the_same_in_every_batch_of_whole_shares(threads: int) -> None:
    net, x = pack_convolutions(layers()), torch.randn(8, 3, 16, 16)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            whole = net(x)
            for count in range(threads, 9, threads):
                assert torch.equal(net(x[:count]), whole[:count]), count
                assert torch.equal(net(x[-count:]), whole[-count:]), count
    finally:
        torch.set_num_threads(before)


def test_saved_copied_and_pickled_it_is_an_ordinary_convolution() -> None:
    plain = layers()
    wanted = plain.state_dict()
    packed = pack_convolutions(copy.deepcopy(plain))
    for net in (packed, copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        got = net.state_dict()
        assert list(got) == list(wanted) and all(torch.equal(got[name], wanted[name]) for name in wanted)
    layers().load_state_dict(packed.state_dict())


def test_what_it_cannot_do_it_says() -> None:
    packed = pack_convolutions(layers())
    packed.float().cpu()
    for change in (lambda: packed.double(), lambda: packed.to("meta")):
        with pytest.raises(UsageError, match="before it is packed"):
            change()
    with pytest.raises(RuntimeError, match="packed"):
        packed.load_state_dict(layers().state_dict())
    with pytest.raises(UsageError, match="inference_mode"):
        packed(torch.randn(1, 3, 8, 8, requires_grad=True))


def test_what_stays_as_it_is() -> None:
    class Own(nn.Conv2d):
        pass

    net = nn.Sequential(Own(3, 3, 1), nn.Conv2d(3, 3, 1, padding_mode="reflect"), nn.Conv2d(3, 3, 1, padding="same"))
    kinds = [type(layer) for layer in net]
    assert [type(layer) for layer in pack_convolutions(net)] == kinds
    assert type(pack_convolutions(nn.Sequential(nn.Conv2d(3, 3, 1).bfloat16()))[0]) is nn.Conv2d
    shared = nn.Conv2d(3, 3, 1)
    twice = pack_convolutions(nn.Sequential(shared, shared))
    assert twice[0] is twice[1] and type(twice[0]) is PackedConv


@pytest.mark.parametrize("name", EVERY)
def test_every_tokenizer_gives_what_it_gave(name: str) -> None:
    system = toy(name)
    tokenizer, size = system.tokenizer, (system.grid.height, system.grid.width)
    packed = pack_convolutions(copy.deepcopy(tokenizer))
    assert not any(type(layer) is nn.Conv2d for layer in packed.modules())
    pixels = torch.rand(2, 3, *(side * tokenizer.factor for side in size)) * 2 - 1
    with torch.inference_mode():
        values = tokenizer.encode(pixels)
        torch.testing.assert_close(packed.encode(pixels).float(), values.float(), rtol=1e-4, atol=1e-4)
        pictures = tokenizer.decode(values, system.grid)
        torch.testing.assert_close(packed.decode(values, system.grid), pictures, rtol=1e-4, atol=1e-4)
