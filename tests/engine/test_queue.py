"""The waiting room against the order written out, and its arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parvis.engine.metrics import Histogram
from parvis.engine.queue import FairQueue


def plain(items: list[tuple[str, int]], stay: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Round by round: of every key, in the order in which they first came, the next of those who stay."""
    keys, left, taken = list(dict.fromkeys(key for key, _ in items)), list(stay), []
    while left:
        for key in keys:
            for item in left:
                if item[0] == key:
                    left.remove(item)
                    taken.append(item)
                    break
    return taken


@given(st.lists(st.sampled_from("abc"), max_size=12), st.sets(st.integers(0, 11)))
def test_keys_take_turns(keys: list[str], leaving: set[int]) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    items = list(zip(keys, range(12), strict=False))
    for item in items:
        queue.put(item[0], item)
    gone = queue.discard(lambda item: item[1] in leaving)
    left = [item for item in items if item[1] not in leaving]
    assert sorted(gone) == sorted(set(items) - set(left)) and len(queue) == len(left)
    expected = list(queue)
    taken = []
    while len(queue):
        taken.append(next(iter(queue)))
        queue.take(taken[-1])
    assert taken == expected == plain(items, left)


def test_a_newcomer_waits_one_round() -> None:
    queue: FairQueue[int] = FairQueue()
    for item in range(100):
        queue.put("greedy", item)
    queue.take(0)
    queue.put("new", -1)
    assert list(queue)[:3] == [1, -1, 2]
    queue.take(7)  # out of turn: greedy's turn it was
    assert list(queue)[:3] == [-1, 1, 2]


def test_a_histogram() -> None:
    seen = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0):
        seen.see(value)
    assert seen.counts == [2, 1, 1] and seen.count == 4 and seen.mean == 2.5
    assert Histogram((1.0,)).mean == 0
