"""What bit-identity rests on: rows that do not depend on their number, and no leftovers of a vector."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import parvis
from parvis.canvas import Canvas
from parvis.engine.engine import Engine
from parvis.engine.steady import GRAIN, VECTOR, _even, shares, steady, unsteady
from parvis.engine.studio import decoded
from parvis.engine.work import Work
from parvis.generate import generate
from parvis.model.linear import PackedLinear, packing_available
from parvis.request import Request
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from serving import CPU, Drawer, drawn
from toys import EVERY, given, toy

needs_packing = pytest.mark.skipif(not packing_available(), reason="this PyTorch cannot pack linear layers")


@needs_packing
@pytest.mark.parametrize(("wide", "out"), [(256, 768), (1024, 256), (32, 17), (64, 32), (8, 8)])
def test_a_row_of_a_packed_layer_does_not_depend_on_how_many_there_are(wide: int, out: int) -> None:
    chance = torch.Generator().manual_seed(wide)
    layer = PackedLinear(torch.randn(out, wide, generator=chance), torch.randn(out, generator=chance))
    x = torch.randn(700, wide, generator=chance)
    whole = layer(x)
    for rows in (1, 2, 3, 5, 8, 15, 16, 17, 33, 64, 100, 129, 300, 511):
        assert torch.equal(layer(x[:rows]), whole[:rows]), rows
        assert torch.equal(layer(x[-rows:]), whole[-rows:]), rows


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("widths", [(32, 64), (96,), (17, 48), (256, 1024)])
def test_no_thread_has_elements_left_over(threads: int, widths: tuple[int, ...]) -> None:
    for rows in (1, 5, 33, 341, 1001):
        count = _even(rows, widths, threads)
        assert count >= rows
        for width in widths:
            used = min(threads, -(-count * width // GRAIN))
            shares = -(-count * width // used)
            assert shares % VECTOR == 0 and count * width % VECTOR == 0
    assert _even(7, (32, 64), 1) == 8 and _even(48, (32, 64), 1) == 48


@pytest.mark.parametrize(("threads", "expected"), [(1, [1, 2, 3, 8]), (2, [2, 2, 4, 8]), (3, [1, 1, 1, 1])])
def test_every_thread_decodes_whole_pictures(
    threads: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    wide, narrow = (VQGAN(VQConfig(channels=c, multipliers=(1,), groups=4)) for c in (32, 8))
    assert [shares(wide, pictures) for pictures in (1, 2, 3, 8)] == expected
    assert [shares(narrow, pictures) for pictures in (1, 2, 3, 8)] == [1, 1, 1, 1]


@needs_packing
@pytest.mark.parametrize("name", [*EVERY, "emoji-64"])
def test_a_picture_is_decoded_alike_with_any_number_of_others(name: str) -> None:
    system = steady(toy(name) if name in EVERY else parvis.load(name, device="cpu", precision="fp32").system)
    tokenizer, shape = system.tokenizer, (17, system.grid.tokens)
    if tokenizer.channels is None:
        values = torch.randint(tokenizer.vocabulary, shape)
    else:
        values = torch.randn(*shape, tokenizer.channels)
    canvases = [Canvas(row[None], torch.ones(1, shape[1], dtype=torch.bool)) for row in values]
    alone = [decoded(system, [canvas])[0] for canvas in canvases]
    for count in (2, 3, 8, 9, 17):
        together = decoded(system, canvases[:count])
        assert len(together) == count
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=False)), count


@needs_packing
@pytest.mark.parametrize("name", EVERY)
def test_a_steady_system_shares_the_rest_and_changes_nothing(name: str) -> None:
    system = toy(name)
    before = [type(module) for module in system.models["main"].modules()]
    twin = steady(system)
    assert [type(module) for module in system.models["main"].modules()] == before
    assert unsteady(twin, CPU) is None
    assert not any(type(module) is nn.Linear for module in twin.models["main"].modules())
    ours = dict(system.models["main"].named_parameters())
    shared = [n for n, p in twin.models["main"].named_parameters() if p.data_ptr() == ours[n].data_ptr()]
    assert len(shared) == len(dict(twin.models["main"].named_parameters()))  # biases, norms, tables
    if system.tokenizer.channels is None:
        request = Request(given(system, 1), (1,))
        assert torch.equal(generate(twin, request)[0].values, generate(system, request)[0].values)


def test_a_model_under_two_names_is_packed_once() -> None:
    system = toy("lpd")
    model = system.models["main"]
    twin = steady(replace(system, models={"main": model, "draft": model}))
    assert twin.models["main"] is twin.models["draft"]


def test_why_a_promise_is_not_given() -> None:
    system = toy("lpd")
    half = replace(system, models={"main": copy.deepcopy(system.models["main"]).to(torch.bfloat16)})
    assert "bfloat16" in str(unsteady(half, CPU)) and "cuda" in str(unsteady(system, torch.device("cuda")))
    assert "cannot be packed" in str(unsteady(system, CPU))  # as it was before steady()
    if packing_available():
        assert Engine({"lpd": Drawer(system)}).unsteady("lpd") is None


@needs_packing
@pytest.mark.parametrize("name", ["emoji-64", "emoji-128"])
def test_the_bundled_models(name: str) -> None:
    pipeline = parvis.load(name, device="cpu", precision="fp32")
    engine = Engine({name: pipeline})
    asked = [
        pipeline.requests(prompt, seed=seed, steps=steps, guidance=scale)[0]
        for prompt, seed, steps, scale in (("red apple", 1, 3, None), ("dog", 2, 2, 1.0), ("blue heart", 3, 4, 2.0))
    ]
    alone = []
    for request in asked:
        ticket = engine.submit(Work(name, request))
        while engine.step():
            pass
        alone.append(drawn(ticket))
    tickets = []
    for request in asked:
        tickets.append(engine.submit(Work(name, request)))
        engine.step()
    while engine.step():
        pass
    for ticket, (values, image) in zip(tickets, alone, strict=True):
        seen = drawn(ticket)
        assert torch.equal(seen[0], values) and seen[1] == image
