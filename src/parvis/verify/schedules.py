"""How many tokens every pass draws: the authors' tables and the groups that their decoders made, in a JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from parvis.schedule import group_sizes, one_then_cosine, remaining_arccos, remaining_cosine
from parvis.verify.compare import Check

Rule = Callable[[int, int], tuple[int, ...]]
RULES: dict[str, dict[str, Rule]] = {
    "arpg_schedules": {"arccos": remaining_arccos, "cosine": remaining_cosine},
    "randar_schedules": {"": one_then_cosine},
}
"""Name of a case -> name of a schedule in it -> our rule."""
TABLES = "lpd_tables"


def known(facts: Mapping[str, Any]) -> bool:
    """Whether a JSON is such a case."""
    return facts.get("case") in (*RULES, TABLES)


def check(facts: Mapping[str, Any]) -> Iterator[Check]:
    """One comparison for every table. Raises KeyError where the JSON lacks something."""
    if facts["case"] == TABLES:
        for steps in facts["tables"]["lookup"].values():
            for sizes in steps.values():
                yield _same("published", group_sizes, sizes)
        for name in ("training_group_sizes_256", "training_group_sizes_512"):
            for sizes in facts["tables"][name]:
                yield _same("in training", group_sizes, sizes)
        return
    for table in facts["schedules"]:
        name = table.get("schedule", "")
        yield _same(name, RULES[facts["case"]][name], table["sizes"])


def _same(name: str, rule: Rule, theirs: Sequence[int]) -> Check:
    ours = rule(sum(theirs), len(theirs))
    equal = sum(a == b for a, b in zip(ours, theirs, strict=False)) / max(len(ours), len(theirs))
    what = ", ".join(filter(None, (f"{sum(theirs)} tokens in {len(theirs)} groups", name)))
    return Check(what, equal, None, tuple(theirs) == ours)
