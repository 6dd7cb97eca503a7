"""Records: whole, signed by their content, and compared only with their like."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parvis.cli import main
from parvis.errors import DataError, UnknownName, UsageError
from parvis.evaluate.record import Record, check_alike, differences, load, load_all, pick, save

RECORD = Record(
    kind="samples",
    model={"name": "toy", "files": {"model.safetensors": "a" * 64}},
    settings={"steps": 5, "guidance": 2.0},
    samples={"count": 100, "size": "16x16", "seeds": "0 to 99", "sha256": "b" * 64, "conditions": "balanced"},
    reference={"name": "real.npz", "sha256": "c" * 64, "count": 400, "size": "16x16"},
    features={"name": "lite0", "version": "0.1.0", "sha256": "d" * 64, "side": 96},
    protocol={"dimensions": 64, "k": 3},
    metrics={"frechet": {"value": 12.5, "floor": 3.0}, "precision": {"value": 0.8, "low": 0.7, "high": 0.9}},
    cost={"passes": 5},
    made="2026-11-22T08:00:00+00:00",
)


def changed(**parts: dict[str, Any]) -> Record:
    """The record with entries of its sections in place of others."""
    return replace(RECORD, **{name: {**getattr(RECORD, name), **part} for name, part in parts.items()})


def test_a_record_comes_back_and_its_name_says_whose_it_is(tmp_path: Path) -> None:
    path = save(RECORD, tmp_path / "results")
    assert path.name == f"toy-samples-{RECORD.id[:12]}.json" and len(RECORD.id) == 64
    assert load(path).id == RECORD.id and load(path).metrics == RECORD.metrics
    assert load_all(tmp_path / "results") == [load(path)]
    assert RECORD.value("frechet") == 12.5 and RECORD.value("cost.passes") == 5 and RECORD.value("x.y") is None


def test_the_id_is_that_of_the_content_whatever_the_order_of_keys() -> None:
    assert RECORD.id == replace(RECORD, settings={"guidance": 2.0, "steps": 5}).id
    others = [
        changed(settings={"steps": 6}),
        changed(metrics={"frechet": {"value": 12.6}}),
        replace(RECORD, made="now"),
    ]
    assert len({RECORD.id, *(other.id for other in others)}) == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_a_record_holds_only_what_json_holds(value: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="finite"):
        save(changed(cost={"seconds": value}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_was_changed_or_cut_is_refused(tmp_path: Path) -> None:
    path = save(RECORD, tmp_path)
    good = path.read_text()
    for old, new, message in (
        ('"value": 12.5', '"value": 9.5', "changed after it was written"),
        ('"schema": 1', '"schema": 2', "schema 2"),
        ('"kind"', '"sort"', "no record"),
        (good[len(good) // 2 :], "", "no record"),
        (good, "[]", "no record"),
        (good, "{}", "no record"),
    ):
        path.write_text(good.replace(old, new))
        with pytest.raises(DataError, match=message):
            load(path)
    with pytest.raises(DataError, match="no folder"):
        load_all(tmp_path / "none")


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        (changed(features={"name": "inception"}), ["features.name"]),
        (changed(samples={"count": 99}), ["samples.count"]),
        (changed(samples={"size": "32x32"}, reference={"size": "32x32"}), ["reference.size", "samples.size"]),
        (changed(reference={"sha256": "e" * 64}), ["reference.sha256"]),
        (changed(protocol={"k": 5}), ["protocol.k"]),
        (changed(protocol={"more": 1}), ["protocol.more"]),
        (changed(samples={"conditions": "random"}), ["samples.conditions"]),
        (replace(RECORD, kind="tokenizer"), ["kind"]),
        (changed(model={"name": "other"}, settings={"steps": 9}, samples={"seeds": "x", "sha256": "f"}), []),
        (changed(reference={"name": "the same elsewhere"}), []),
    ],
)
def test_unlike_records_are_refused_and_every_difference_is_named(other: Record, fields: list[str]) -> None:
    assert [name for name, _, _ in differences(RECORD, other)] == fields
    if not fields:
        check_alike([RECORD, other])
        return
    with pytest.raises(UsageError) as caught:
        check_alike([RECORD, other])
    assert all(f"{name}: " in str(caught.value) and f"--allow {name}" in str(caught.value) for name in fields)
    check_alike([RECORD, other], fields)
    check_alike([RECORD, other], sorted({name.partition(".")[0] for name in fields}))
    if fields != ["kind"]:
        with pytest.raises(UsageError):
            check_alike([RECORD, other], ["kind"])


def test_a_field_that_does_not_exist_cannot_be_allowed() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'samples.count'"):
        differences(RECORD, RECORD, ["samples.cuont"])


def test_a_record_is_picked_by_the_start_of_its_id() -> None:
    others = [RECORD, changed(settings={"steps": 6})]
    assert pick(others, RECORD.id[:8]) is RECORD and pick(others, f"results/{RECORD.file}") is RECORD
    with pytest.raises(UnknownName):
        pick(others, "0000ffff")
    with pytest.raises(UsageError, match="2 records"):
        pick([RECORD, RECORD], RECORD.id[:8])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Three records that compare, of 5, 10 and 20 passes, and one of other pictures."""
    monkeypatch.chdir(tmp_path)
    found = [
        replace(
            changed(
                settings={"steps": steps}, cost={"passes": steps}, metrics={"frechet": {"value": value, "floor": 3.0}}
            ),
            made=f"2026-11-22T08:0{i}:00+00:00",
        )
        for i, (steps, value) in enumerate(((5, 20.0), (10, 12.0), (20, 13.0)))
    ]
    found.append(replace(changed(samples={"count": 50}), made="2026-11-22T09:00:00+00:00"))
    for record in found:
        save(record, tmp_path / "results")
    return found


def test_the_command_lists_shows_and_compares(folder: list[Record], capsys: pytest.CaptureFixture[str]) -> None:
    one, two, _, other = folder
    assert main(["results", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(record.id[:12] in listed for record in folder)
    assert main(["results", "show", one.id[:12]]) == 0
    assert "metrics.frechet.value" in capsys.readouterr().out
    assert main(["results", "show", one.id[:12], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == one.id
    assert main(["results", "compare", one.id[:12], two.id[:12]]) == 0
    told = capsys.readouterr().out
    assert "settings.steps: 5 | 10" in told and "20" in told and "real against real" in told
    assert main(["results", "compare", one.id[:12], other.id[:12]]) == 2
    assert "samples.count: 100 and 50" in capsys.readouterr().err
    assert main(["results", "compare", one.id[:12], other.id[:12], "--allow", "samples.count"]) == 0
    assert main(["results", "compare", one.id[:12]]) == 2


@pytest.mark.filterwarnings("default::UserWarning")
def test_the_command_tables_and_plots_what_compares(folder: list[Record], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "table", "--metrics", "frechet"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 5 and folder[3].id[:12] in captured.err
    lines = captured.out.splitlines()
    assert len({line.count("|") for line in lines}) == 1
    for suffix in ("svg", "png"):
        assert main(["results", "plot", "--y", "frechet", "-o", f"p.{suffix}", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["points"] == 3 and found["left_out"] == [folder[3].id[:12]]
        assert found["front"] == ["toy, 5 passes", "toy, 10 passes"]
        assert Path(f"p.{suffix}").stat().st_size > 1000
    assert main(["results", "plot", "--y", "kid"]) == 2
    assert "none of 3 records" in capsys.readouterr().err
    assert main(["results", "table", "--metrics", "kidd"]) == 2
