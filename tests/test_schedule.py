import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parvis.errors import UsageError
from parvis.schedule import (
    constant,
    cosine,
    group_sizes,
    one_then_cosine,
    published,
    remaining_arccos,
    remaining_cosine,
    tail,
)

TABLES = json.loads((Path(__file__).parent / "golden" / "lpd_tables.json").read_text())["tables"]
LOOKUP = [
    (tokens, int(steps.split()[0]), tuple(sizes))
    for tokens, name in ((256, "256 resolution"), (1024, "512 resolution"))
    for steps, sizes in TABLES["lookup"][name].items()
]


@pytest.mark.parametrize(("tokens", "steps", "sizes"), LOOKUP)
def test_published_tables_are_exact(tokens, steps, sizes):
    assert published(tokens, steps) == sizes == group_sizes(tokens, steps)


@pytest.mark.parametrize(("tokens", "name"), [(256, "training_group_sizes_256"), (1024, "training_group_sizes_512")])
def test_training_tables_are_among_them(tokens, name):
    for sizes in TABLES[name]:
        assert list(published(tokens, len(sizes))) == sizes


@pytest.mark.parametrize(("tokens", "steps"), [(256, 20), (1024, 48)])
def test_the_rule_gives_the_tables_that_need_no_repair(tokens, steps):
    assert cosine(tokens, steps) == published(tokens, steps)


@given(st.integers(1, 1500).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_the_rule_holds_its_limits_everywhere(case):
    tokens, steps = case
    sizes = cosine(tokens, steps)
    assert len(sizes) == steps and sum(sizes) == tokens
    assert min(sizes) >= 1 and list(sizes) == sorted(sizes)
    assert steps == 1 or sizes[0] == 1


@given(st.integers(64, 2000), st.integers(2, 20))
def test_the_rule_stays_near_the_cosine(tokens, steps):
    """Each group is within one of the rule plus its share of what the first group of one leaves over."""
    left = tokens * (1 - math.cos(math.pi / (2 * steps))) - 1
    for i, size in enumerate(cosine(tokens, steps)[1:], 2):
        ideal = tokens * (math.cos(math.pi * (i - 1) / (2 * steps)) - math.cos(math.pi * i / (2 * steps)))
        assert abs(size - ideal) <= 2 + abs(left) / (steps - 1)


def test_the_remaining_cosine_is_mars():
    assert remaining_cosine(16, 5) == (1, 3, 3, 5, 4) and remaining_cosine(256, 256) == (1,) * 256


def test_group_sizes_fall_back_to_the_rule():
    assert group_sizes(256, 21) == cosine(256, 21)
    assert group_sizes(144, 16) == cosine(144, 16)


RANDAR = json.loads((Path(__file__).parent / "golden" / "randar_schedules.json").read_text())["schedules"]


@pytest.mark.parametrize("table", RANDAR, ids=lambda table: f"{table['N']}-{table['K']}")
def test_randar_groups_are_the_authors(table):
    assert list(one_then_cosine(table["N"], table["K"])) == table["sizes"]


ARPG = json.loads((Path(__file__).parent / "golden" / "arpg_schedules.json").read_text())["schedules"]


@pytest.mark.parametrize("table", ARPG, ids=lambda table: f"{table['schedule']}-{table['N']}-{table['K']}")
def test_arpg_groups_are_the_authors(table):
    rule = {"arccos": remaining_arccos, "cosine": remaining_cosine}[table["schedule"]]
    assert list(rule(table["N"], table["K"])) == table["sizes"]


@pytest.mark.parametrize("rule", [one_then_cosine, remaining_arccos, remaining_cosine])
@given(case=st.integers(1, 1500).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_groups_are_as_many_as_asked(rule, case):
    tokens, steps = case
    sizes = rule(tokens, steps)
    assert len(sizes) == steps and sum(sizes) == tokens and min(sizes) >= 1


@pytest.mark.parametrize("rule", [one_then_cosine, remaining_arccos, remaining_cosine])
@pytest.mark.parametrize("steps", [0, 17])
def test_more_groups_than_tokens_are_refused(rule, steps):
    with pytest.raises(UsageError, match=r"16 tokens take 1\.\.16 steps"):
        rule(16, steps)


def test_constant_groups():
    assert constant(10, 4) == (4, 4, 2)
    assert constant(8, 4) == (4, 4)
    assert constant(3, 1) == (1, 1, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: published(256, 21), "tables of 8, 12, 16, 20"),
        (lambda: published(100, 10), r"tables for \[256, 1024\] tokens"),
        (lambda: cosine(10, 0), r"1\.\.10 steps; got 0"),
        (lambda: group_sizes(10, 11), r"1\.\.10 steps; got 11"),
        (lambda: constant(10, 11), r"1\.\.10 of 10"),
        (lambda: constant(10, 0), "got 0"),
    ],
)
def test_bad_calls_say_what_is_possible(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(("left", "sizes"), [(10, (1, 2, 3, 4)), (9, (2, 3, 4)), (8, (1, 3, 4)), (4, (4,)), (1, (1,))])
def test_the_tail_is_the_end_of_a_schedule(left: int, sizes: tuple[int, ...]) -> None:
    assert tail((1, 2, 3, 4), left) == sizes


@pytest.mark.parametrize("left", [0, 11])
def test_a_tail_of_nothing_or_too_much_is_refused(left: int) -> None:
    with pytest.raises(UsageError, match=r"1\.\.10"):
        tail((1, 2, 3, 4), left)
