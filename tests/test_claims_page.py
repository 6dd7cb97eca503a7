"""The page of claims says what its records say."""

import sys
from pathlib import Path

import pytest

from parvis.errors import UsageError
from parvis.evaluate.record import Record

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from claims_page import CLAIMS, Key, Page, write_page


def record(name, distance, steps=0, order="", passes=10, count=1000, kind="samples", net="judge", **more):
    low, high = 0.9 * distance, 1.1 * distance
    metrics = {"frechet_projected": {"value": distance, "low": low, "high": high, "floor": 0.1}}
    metrics |= {m: {"value": 0.5} for m in ("precision", "recall", "own_class")}
    settings = {"steps": steps, "order": order, "guidance": 1.5} | more
    cost = {"passes": passes}
    return Record(
        kind, {"name": name, "parameters": 2_000_000}, settings, {"count": count, "size": "32x32"},
        {"sha256": "r"}, {"name": net}, {}, metrics, cost, {"processor": "toy", "threads": 1}, {"torch": "2"},
    )  # fmt: skip


def test_a_claim_is_judged_by_its_intervals(tmp_path):
    records = [
        record("raster", 1.0, passes=64), record("lpd", 1.05, 10), record("lpd", 2.0, 6, passes=6),
        record("arpg", 4.0, 10), record("lpd", 1.1, 10, "random"), record("real", 0.2, passes=0),
        record("lpd", 3.0, 10, count=300),
    ]  # fmt: skip
    text = write_page(records, tmp_path / "results.md").read_text()
    line = {row.split(" | ")[0].strip("| "): row for row in text.splitlines() if row.startswith("| ")}
    assert "not told apart, as it says" in line["LPD in 10 passes is as good as raster in 64"]
    assert "**does not hold**: it is worse" in line["LPD in 6 passes is as good as raster in 64"]
    assert line["LPD is better than ARPG, both in 10 passes"].endswith("| **holds** |")
    assert "not told apart" in line["LPD's order is better than a random one, 10 passes"]
    assert "Not measured: PAR, 4 together" in text and "| LPD | 6: 2.00; 10: 1.05" in text
    assert "PAR over neighbours" in text.split("Not measured: ")[1].splitlines()[0]
    assert "1.5 is the most guidance that was tried" in text
    assert (tmp_path / "images" / "results-passes.png").stat().st_size > 1000
    assert not (tmp_path / "images" / "results-seconds.png").exists()


def test_records_of_other_nets_are_not_laid_side_by_side(tmp_path):
    with pytest.raises(UsageError, match=r"features\.name"):
        write_page([record("raster", 1.0), record("lpd", 1.0, 10, net="another")], tmp_path / "results.md")
    with pytest.raises(UsageError, match=r"claims\.py measure"):
        write_page([], tmp_path / "results.md")


def test_every_claim_is_of_something_that_is_measured():
    from claims import ABLATIONS, FAMILIES, STEPS

    made = {Key(run, steps) for run in FAMILIES for steps in STEPS.get(run, (0,))}
    made |= {Key(run, steps, order) for run, steps, order in ABLATIONS}
    assert {claim.ours for claim in CLAIMS} | {claim.theirs for claim in CLAIMS} <= made
    assert Page([record("raster", 1.0)]).usual("lpd") is None
