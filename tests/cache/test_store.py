"""The cache: rows go to their slots, a prefix is read."""

from __future__ import annotations

import torch

from parvis.cache.store import Cache
from parvis.model.framing import query
from parvis.model.plan import Kind, Row, RowPlan
from parvis.model.visibility import group_causal, peers_and_context

CPU = torch.device("cpu")


def empty(slots: int, layers: int = 2, dtype: torch.dtype = torch.float32) -> Cache:
    return Cache(layers, 1, 1, slots, 1, dtype, CPU)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, -1, 1)


def test_rows_in_a_run_of_slots() -> None:
    cache, plan = empty(4), query((1, 2))
    cache.keys.fill_(-1)
    first, second = (plan.step(index, peers_and_context, CPU) for index in (0, 1))
    assert first.span == (0, 2) and second.span == (1, 4)
    keys, values = cache.extend(1, first, column(5, 6), column(-5, -6))
    assert keys.flatten().tolist() == [5, 6] and values.flatten().tolist() == [-5, -6]
    keys, values = cache.extend(1, second, column(7, 8, 9), column(1, 2, 3))
    assert keys.flatten().tolist() == [5, 7, 8, 9]  # the query's key is replaced
    assert values.flatten().tolist() == [-5, 1, 2, 3]
    assert (cache.keys[0] == -1).all()  # another layer


def test_rows_in_scattered_slots() -> None:
    rows = tuple(Row(Kind.VALUE, rank, 0, slot) for rank, slot in enumerate((4, 0, 3)))
    before = tuple(Row(Kind.VALUE, rank, 0, slot) for rank, slot in enumerate((0, 1, 2)))
    plan = RowPlan((1, 1), 0, (before, rows), ((1,), (2,)))
    cache, scattered = empty(6), plan.step(1, group_causal, CPU)
    assert scattered.span is None and scattered.length == 5
    cache.extend(0, plan.step(0, group_causal, CPU), column(9, 1, 2), column(90, 10, 20))
    keys, values = cache.extend(0, scattered, column(4, 0.5, 3), column(40, 5, 30))
    assert keys.flatten().tolist() == [0.5, 1, 2, 3, 4]
    assert values.flatten().tolist() == [5, 10, 20, 30, 40]


def test_what_is_read_is_no_copy() -> None:
    cache, rows = empty(4), query((1, 2)).step(0, peers_and_context, CPU)
    keys, _ = cache.extend(0, rows, column(1, 2), column(1, 2))
    assert keys.data_ptr() == cache.keys[0].data_ptr()


def test_scattered_and_contiguous_rows_leave_the_same_cache() -> None:
    """Rows of a pass may come in any order."""
    generator = torch.Generator().manual_seed(0)
    k, v = torch.randn(2, 1, 1, 3, 1, generator=generator)
    straight = RowPlan((1,), 0, (tuple(Row(Kind.VALUE, i, 0, i) for i in range(3)),), ((2,),))
    turn = [2, 0, 1]
    mixed = RowPlan((1,), 0, (tuple(Row(Kind.VALUE, i, 0, i) for i in turn),), ((2,),))
    caches = []
    for plan, order in ((straight, [0, 1, 2]), (mixed, turn)):
        cache = empty(3, layers=1)
        cache.extend(0, plan.step(0, group_causal, CPU), k[:, :, order], v[:, :, order])
        caches.append(cache)
    assert torch.equal(caches[0].keys, caches[1].keys) and torch.equal(caches[0].values, caches[1].values)
