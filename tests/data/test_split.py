import numpy as np
import pytest

from parvis.data.split import BASE, COMBINATION, TRAIN, Item, base_weights, split, twin_groups

TONES = ("a", "b", "c", "d", "e")


def people(roles: int = 12) -> list[Item]:
    items = []
    for role in range(roles):
        for who in ("man", "woman"):
            for tone in ((), *((t,) for t in TONES)):
                items.append(Item(f"{who}-{role}", f"r{role}", tone, (who, f"job{role}")))
    for thing in range(40):
        items.append(Item(f"thing-{thing}", "", (), (f"noun{thing}", "thing")))
    items += [Item("pair", "", (x, y), ("pair",)) for x in TONES for y in TONES]
    return items


def test_mirrored_and_near_pictures_are_twins() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    images[3] = images[1][:, ::-1]
    images[4] = np.clip(images[3].astype(int) + 3, 0, 255)
    assert twin_groups(images, chunk=2) == [0, 1, 2, 1, 1]


def test_split_keeps_twins_together_and_bases_whole() -> None:
    items = people()
    groups = list(range(len(items)))
    groups[6 * 2 * 2 + 1] = groups[1]  # two people of two roles
    sides = split(items, groups, seed=3, bases=0.1, singles=8, pairs=4)
    for group in set(groups):
        assert len({s for s, g in zip(sides, groups, strict=True) if g == group}) == 1
    held = {i.base for i, s in zip(items, sides, strict=True) if s == BASE}
    assert held and all((s == BASE) == (i.base in held) for i, s in zip(items, sides, strict=True))


def test_held_out_combinations_have_other_tones_in_training_and_no_gender_in_that_tone() -> None:
    items = people()
    sides = split(items, list(range(len(items))), seed=1, bases=0.05, singles=10, pairs=4)
    held = [i for i, s in zip(items, sides, strict=True) if s == COMBINATION]
    trained = [i for i, s in zip(items, sides, strict=True) if s == TRAIN]
    singles = [i for i in held if len(i.tones) == 1]
    assert len(singles) >= 10 and any(len(i.tones) == 2 for i in held)
    for item in held:
        assert len({t.tones for t in trained if t.base == item.base and t.tones}) >= 3
    for item in singles:
        assert not [t for t in trained if t.role == item.role and t.tones == item.tones]


def test_split_is_a_function_of_the_seed() -> None:
    items, groups = people(), list(range(len(people())))
    assert split(items, groups, seed=5) == split(items, groups, seed=5)
    assert split(items, groups, seed=5) != split(items, groups, seed=6)


def test_a_role_that_is_one_twin_group_is_never_a_held_out_combination() -> None:
    items = [Item("hero", "h", (t,), ("hero",)) for t in TONES]
    assert COMBINATION not in split(items, [0] * 5, bases=0.0)


def test_base_weights_draw_every_base_alike() -> None:
    weights = base_weights(["x", "y", "y", "y", "z"])
    assert weights.sum().item() == pytest.approx(1)
    assert weights[0] == pytest.approx(float(weights[1:4].sum())) == pytest.approx(1 / 3)
