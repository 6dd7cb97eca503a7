"""Packed linear layers equal plain ones, keep no second copy, and step aside where they cannot work."""

from __future__ import annotations

import copy
import pickle
import threading
import weakref
from collections.abc import Iterator
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.errors import UsageError
from parvis.model import linear
from parvis.model.linear import LEAST, PackedLinear, packing_available, packing_problem, rung

pack = partial(linear.pack, least=0)

DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Every test asks about this process anew."""
    packing_problem.cache_clear()
    yield
    packing_problem.cache_clear()


def needs(dtype: torch.dtype) -> None:
    problem = packing_problem(dtype)
    if problem is not None:
        pytest.skip(problem)


def close(got: Tensor, wanted: Tensor) -> None:
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    bound = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[wanted.dtype]
    torch.testing.assert_close(got.float(), wanted.float(), rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fans", [(1, 1), (8, 24), (33, 7), (64, 256), (96, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_f_linear(dtype: torch.dtype, fans: tuple[int, int], bias: bool) -> None:
    needs(dtype)
    layer = nn.Linear(*fans, bias=bias).to(dtype)
    weight, offset = layer.weight.detach().clone(), layer.bias.detach().clone() if bias else None
    packed = pack(layer)
    assert isinstance(packed, PackedLinear)
    with torch.inference_mode():
        for shape in [(1,), (2,), (3, 5), (2, 1, 40), (200,), (0,), (2, 0), ()]:
            x = torch.randn(*shape, fans[0], dtype=dtype)
            close(packed(x), F.linear(x, weight, offset))


@pytest.mark.parametrize("dtype", DTYPES)
def test_takes_rows_that_are_not_contiguous(dtype: torch.dtype) -> None:
    needs(dtype)
    layer = nn.Linear(16, 32).to(dtype)
    plain = copy.deepcopy(layer)
    packed = pack(layer)
    x = torch.randn(3, 9, 16, dtype=dtype)
    with torch.inference_mode():
        for view in (x[:, 2:5], x[:, ::2], torch.randn(16, 6, dtype=dtype).t(), x[..., :1].expand(3, 9, 16)):
            close(packed(view), plain(view))


def test_few_numbers_of_rows_reach_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps memory for each for ever. No more than an eighth, or seven, of the rows are in vain."""
    needs(torch.float32)
    assert all(rows <= rung(rows) <= max(rows + 7, rows * 9 / 8) for rows in range(5000))
    packed, seen, product = pack(nn.Linear(8, 24)), set(), linear._product
    monkeypatch.setattr(linear, "_product", lambda x, *rest: (seen.add(len(x)), product(x, *rest))[1])
    for rows in range(1, 1025):
        packed(torch.zeros(rows, 8))
    assert len(seen) < 50


def test_works_in_and_out_of_inference_mode() -> None:
    needs(torch.float32)
    layer = nn.Linear(8, 8)
    plain = copy.deepcopy(layer)
    with torch.inference_mode():
        packed = pack(layer)
        close(packed(torch.ones(2, 8)), plain(torch.ones(2, 8)))
    with torch.no_grad():
        close(packed(torch.ones(2, 8)), plain(torch.ones(2, 8)))


def test_training_through_a_packed_layer_is_refused() -> None:
    needs(torch.float32)
    packed = pack(nn.Linear(8, 8))
    with pytest.raises(UsageError, match="inference_mode"):
        packed(torch.ones(2, 8, requires_grad=True))


def test_a_wrong_input_is_named() -> None:
    needs(torch.float32)
    packed = pack(nn.Linear(8, 4))
    with pytest.raises(RuntimeError, match=r"8 -> 4.*was given \(2, 9\)"):
        packed(torch.ones(2, 9))
    with pytest.raises(RuntimeError, match="bfloat16"):
        packed(torch.ones(2, 8, dtype=torch.bfloat16))


class Tree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.inner = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8, bias=False))
        self.again = self.inner[0]
        self.tied = nn.Linear(8, 10, bias=False)
        self.tied.weight = self.embed.weight
        self.special = nn.modules.linear.NonDynamicallyQuantizableLinear(8, 8)
        self.absent = None

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        y: Tensor = self.tied(self.special(self.inner(x) + self.again(x)[..., :8]))
        return y


def test_packs_a_whole_model_in_place() -> None:
    needs(torch.float32)
    tree, ids = Tree().eval(), torch.arange(10)
    with torch.no_grad():
        before = tree(ids)
        assert pack(tree) is tree
        close(tree(ids), before)
    assert isinstance(tree.inner[0], PackedLinear) and isinstance(tree.inner[2], PackedLinear)
    assert tree.again is tree.inner[0]
    assert tree.tied.weight is tree.embed.weight, "a tied weight keeps its one copy"
    assert not isinstance(tree.special, PackedLinear)
    assert pack(tree) is tree and tree.again is tree.inner[0], "packing twice changes nothing"


def test_the_plain_weight_is_gone() -> None:
    needs(torch.float32)
    model = nn.Sequential(nn.Linear(32, 64), nn.Linear(64, 32))
    held = model[0]
    weights = [weakref.ref(layer.weight.untyped_storage()) for layer in model]
    pack(model)
    assert [ref() for ref in weights] == [None, None]
    assert not hasattr(held, "weight")
    assert [name for name, _ in model.named_parameters()] == ["0.bias", "1.bias"]


def test_memory_does_not_double(monkeypatch: pytest.MonkeyPatch) -> None:
    needs(torch.float32)
    model = nn.Sequential(*[nn.Linear(16, 16) for _ in range(6)])
    weights = [weakref.ref(layer.weight.untyped_storage()) for layer in model]
    alive, reorder = [], linear._reorder

    def watched(weight: Tensor) -> Tensor:
        alive.append(sum(ref() is not None for ref in weights))
        return reorder(weight)

    monkeypatch.setattr(linear, "_reorder", watched)
    pack(model)
    assert alive == [6, 5, 4, 3, 2, 1], "a plain weight must go before the next layer is packed"


@pytest.mark.parametrize("dtype", DTYPES)
def test_state_dict_copy_and_pickle_give_the_plain_weight(dtype: torch.dtype) -> None:
    needs(dtype)
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3, bias=False)).to(dtype)
    wanted = {key: value.clone() for key, value in model.state_dict().items()}
    pack(model)
    for source in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        got = source.state_dict()
        assert list(got) == ["0.weight", "0.bias", "1.weight"]
        assert all(torch.equal(got[key], wanted[key]) for key in wanted)
        assert isinstance(source[0], PackedLinear)


def test_loading_into_a_packed_model_is_refused() -> None:
    needs(torch.float32)
    model = pack(nn.Sequential(nn.Linear(5, 7)))
    with pytest.raises(RuntimeError, match="before the model is packed"):
        model.load_state_dict(model.state_dict())


def test_a_packed_model_stays_in_its_dtype_and_place() -> None:
    needs(torch.float32)
    model = pack(nn.Sequential(nn.Linear(5, 7)))
    model.to("cpu").float().eval().requires_grad_(False)
    for move in (lambda: model.to(torch.bfloat16), lambda: model.to("meta")):
        with pytest.raises(UsageError, match="before it is packed"):
            move()


def test_small_layers_stay() -> None:
    needs(torch.float32)
    width = int(LEAST**0.5)
    model = linear.pack(nn.Sequential(nn.Linear(width, width), nn.Linear(width, width - 1)))
    assert [type(layer) for layer in model] == [PackedLinear, nn.Linear]


def test_layers_with_hooks_stay() -> None:
    layer, seen = nn.Linear(4, 4), []
    layer.register_forward_hook(lambda *_: seen.append(1))
    model = pack(nn.Sequential(layer))
    model(torch.ones(1, 4))
    assert seen and model[0] is layer


def test_layers_on_other_devices_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 4, device="meta"))
    assert type(pack(model)[0]) is nn.Linear
    with pytest.raises(UsageError, match="meta"):
        PackedLinear(torch.empty(4, 4, device="meta"))


def untouched(dtype: torch.dtype = torch.float32) -> bool:
    layer = nn.Linear(4, 4).to(dtype)
    weight = layer.weight
    model = pack(nn.Sequential(layer))
    return model[0] is layer and layer.weight is weight


def test_falls_back_where_a_dtype_has_no_packing() -> None:
    for dtype in (torch.float64, torch.float16):
        assert not packing_available(dtype) and "float32 or bfloat16" in str(packing_problem(dtype))
        assert untouched(dtype)


def test_falls_back_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert "oneDNN" in str(packing_problem(torch.float32)) and untouched()


@pytest.mark.parametrize("error", [AttributeError("no such operator"), NotImplementedError("x"), RuntimeError("y\nz")])
def test_falls_back_where_the_operator_is_missing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def missing(*_: object) -> Tensor:
        raise error

    monkeypatch.setattr(linear, "_reorder", missing)
    assert not packing_available()
    assert str(error).splitlines()[0] in str(packing_problem(torch.float32))
    assert untouched()
    with pytest.raises(UsageError, match="cannot be packed"):
        PackedLinear(torch.ones(2, 2))


@pytest.mark.parametrize(
    "fault", [lambda y: y * 1.001, lambda y: y * float("nan"), lambda y: y[..., :-1], lambda y: y.double()]
)
def test_falls_back_where_the_self_test_fails(monkeypatch: pytest.MonkeyPatch, fault: object) -> None:
    needs(torch.float32)
    packing_problem.cache_clear()
    right = linear._product
    monkeypatch.setattr(linear, "_product", lambda *given: fault(right(*given)))  # type: ignore[operator]
    assert "wrong on this machine" in str(packing_problem(torch.float32))
    assert untouched()


def test_the_reason_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with caplog.at_level("INFO", logger="parvis"):
        pack(nn.Sequential(nn.Linear(4, 4)))
    assert "stays unpacked" in caplog.text and "oneDNN" in caplog.text


def test_threads_share_a_packed_layer() -> None:
    needs(torch.float32)
    layer = nn.Linear(64, 64)
    plain = copy.deepcopy(layer)
    packed, failures = pack(layer), []

    def work(seed: int) -> None:
        chance = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            for rows in range(1, 30):
                x = torch.randn(rows, 64, generator=chance)
                if not torch.allclose(packed(x), plain(x), atol=1e-5):
                    failures.append((seed, rows))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
