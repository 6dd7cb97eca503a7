"""benchmarks/compare.py on a data set of drawings of one colour: what it measures of contestants that are known."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from parvis.data.captions import Words
from parvis.data.emoji import FORMAT, EmojiSet, Record
from parvis.systems import SYSTEMS
from parvis.weights.config import FolderConfig
from parvis.weights.folder import save_folder

SCRIPTS = Path(__file__).parent.parent.parent / "benchmarks"
NOUNS = [f"noun{i}" for i in range(16)]
ARGUMENTS = {
    "resolution": 64, "depth": 1, "width": 16, "heads": 2, "words": 17 + 5, "slots": 4, "steps": 5,
    "tokenizer": {
        "channels": 8, "multipliers": [1, 1, 1, 1], "groups": 4, "z_channels": 8, "codes": 16, "code_dim": 4,
        "encoder_blocks": 1, "decoder_blocks": 1, "attention": False, "patch": 2,
    },
}  # fmt: skip


def record(i: int, noun: str, tone: str, split: str) -> Record:
    caption = (tone, noun) if tone else (noun,)
    return Record(
        f"{noun}{tone}.png", noun, caption, (), "Odd" if i % 2 else "Even", "", noun, "", (tone,) * bool(tone), i, split
    )


@pytest.fixture
def data() -> EmojiSet:
    """16 drawings, the first in three tones of which one is held out; one drawing is held out, one is not known."""
    records = [record(i, noun, "", "train") for i, noun in enumerate(NOUNS)]
    records += [record(0, NOUNS[0], "dark-skin", "train"), record(0, NOUNS[0], "light-skin", "combination")]
    records += [record(16, "newnoun", "", "base"), record(17, NOUNS[3], "medium-skin", "base")]
    colours = np.random.default_rng(0).integers(0, 256, (len(records), 1, 1, 3), dtype=np.uint8)
    words = Words.of([(noun,) for noun in NOUNS], 4)
    return EmojiSet(np.broadcast_to(colours, (len(records), 64, 64, 3)).copy(), tuple(records), words)


@pytest.fixture
def models(tmp_path: Path, data: EmojiSet, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders of a parallel and a raster model with random weights, and the data set where the script looks for it."""
    folder = tmp_path / "cache" / "data" / "emoji"
    folder.mkdir(parents=True)
    saved = {
        "format": FORMAT,
        "vocabulary": data.words.vocabulary,
        "records": [asdict(r) for r in data.records],
    }
    (folder / "records.json").write_text(json.dumps(saved))
    np.savez(folder / "emoji-64.npz", images=data.images, files=np.array([r.file for r in data.records]))
    monkeypatch.setenv("PARVIS_CACHE", str(tmp_path / "cache"))
    for name, kind in (("toy", "lpd"), ("toy-raster", "raster")):
        torch.manual_seed(0)
        arguments = {**ARGUMENTS, "kind": kind, "name": name}
        system = SYSTEMS["emoji"](**arguments)
        files = {
            "model.safetensors": system.models["main"].state_dict(),
            "tokenizer.safetensors": system.tokenizer.state_dict(),
        }
        about = {"licence": "CC0", "images": "10" if kind == "lpd" else "20"}
        words = {"words": list(data.words.vocabulary), "slots": 4}
        config = FolderConfig("emoji", arguments, "words.json", about)
        save_folder(tmp_path / name, config, files, {"words.json": words})
    return [str(tmp_path / "toy"), str(tmp_path / "toy-raster")]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for name in ("compare", "calibrate", "judge", "samples", "conditions"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import compare  # type: ignore[import-not-found]

    return compare


def ask(models: list[str], out: Path, *more: str) -> list[str]:
    call = ["--models", *models, "--out", str(out), "--n", "20", "--features", "thumbnails", "--dimensions", "3"]
    return [*call, "--batch", "8", "--replicates", "20", "--repeats", "1", *more]


def test_captions_come_equally_often_with_seeds_of_their_own(script: ModuleType, data: EmojiSet) -> None:
    import samples  # type: ignore[import-not-found]

    indices = samples.known(data, "train", [frozenset(data.words.vocabulary)])
    drawn = samples.every_base(data, indices, 48, salt=0)
    bases = [data.records[w.index].base for w in drawn]
    assert {bases.count(noun) for noun in NOUNS} == {3}
    assert {w.index for w in drawn if bases[drawn.index(w)] == NOUNS[0]} == {0, 16}  # both variants that are trained on
    assert len({w.seed for w in drawn}) == 48
    assert set(samples.every_base(data, indices, 16, salt=0)) <= set(drawn)
    assert not {w.seed for w in drawn} & {w.seed for w in samples.every_base(data, indices, 48, salt=1)}
    assert [samples.known(data, s, [frozenset(data.words.vocabulary)]) for s in ("combination", "base")] == [[17], [19]]


def test_a_comparison_tells_all_and_goes_on_where_it_was(
    script: ModuleType, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert script.main(ask(models, out)) == 0
    printed = capsys.readouterr().out
    assert "note: the folders say different things about 'images': 10; 20" in printed
    found = json.loads((out / "compare.json").read_text())
    assert [m["settings"]["steps"] for m in found["models"]] == [5, 16]
    ratios = found["ratios"]["toy / toy-raster"]
    assert set(ratios) == {"Frechet", "beyond tokenizer"} and (out / "sheet.png").is_file()
    for model in found["models"]:
        assert set(model["nearest"]) == {"seen", "combination", "base"}
        distance = model["frechet"]
        assert (distance["real"], distance["fake"], distance["dimensions"]) == (20, 20, 3)
        assert distance["floor"]["count"] == 8 and distance["features"] == "16x16 pixels"
        assert len(model["files"]["model.safetensors"]) == 64
    assert [run["batch"] for run in found["latency"]["runs"]] == [1, 1, 8, 8]
    assert found["machine"]["processor"] and found["versions"]["torch"] == torch.__version__
    assert str(tmp_path) not in json.dumps(found)
    kept = sorted((out / "samples").rglob("*.npy"))
    kept[0].write_bytes(b"torn")
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert script.main(ask(models, out, "--only", "quality")) == 0
    assert [path for path in kept if path.stat().st_mtime_ns != before[path]] == [kept[0]]
    again = json.loads((out / "compare.json").read_text())
    assert [again[k] for k in ("models", "ratios")] == [found[k] for k in ("models", "ratios")]


def test_known_contestants_get_the_marks_they_deserve(script: ModuleType, models: list[str], tmp_path: Path) -> None:
    import judge  # type: ignore[import-not-found]

    given = script.read(ask(models, tmp_path / "out"))
    at = judge.bench(*judge.common_ground([script.load(name) for name in models]), given)

    def own(wanted):  # type: ignore[no-untyped-def]
        return at.data.images[[w.index for w in wanted]]

    perfect = judge.judge(at, judge.SPLITS, own)
    assert perfect.frechet.distance == pytest.approx(0, abs=1e-6)
    assert all(perfect.nearest[split]["exact"]["mean"] == 1 for split in judge.SPLITS)
    off = judge.judge(at, judge.SPLITS, lambda wanted: np.roll(own(wanted), 1, 0))
    assert off.frechet.distance == pytest.approx(0, abs=1e-6)  # the right pictures under the wrong captions
    assert off.nearest["seen"]["base"]["mean"] < 0.2
    other = {0: 16, 16: 0}  # the same drawing in its other tone
    tones = judge.judge(at, ("seen",), lambda wanted: at.data.images[[other.get(w.index, w.index) for w in wanted]])
    assert tones.nearest["seen"]["exact"]["mean"] < tones.nearest["seen"]["base"]["mean"] == 1
    at = replace(at, attainable=perfect.features + 1)
    assert judge.judge(at, ("seen",), own).beyond == pytest.approx(3)  # the means of three dimensions, 1 apart
    faded = judge.judge(at, ("seen",), lambda wanted: own(wanted) // 2)
    assert faded.frechet.distance > perfect.frechet.distance + 0.1
    assert set(faded.nearest["seen"]["base_by_category"]) == {"Even", "Odd"}


def test_a_model_against_itself_is_one_to_one(script: ModuleType, models: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert script.main(ask([models[0], models[0]], out)) == 0
    found = json.loads((out / "compare.json").read_text())
    assert list(found["ratios"]) == ["toy #1 / toy #2"] and found["notes"] == []
    for one in found["ratios"]["toy #1 / toy #2"].values():
        assert one["low"] == one["value"] == one["high"] == 1
    assert [run["name"] for run in found["latency"]["runs"]] == ["toy #1", "toy #2"] * 2


def test_a_sweep_measures_what_differs_once(
    script: ModuleType, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert script.main(ask(models, out, "--sweep", "guidance=1,2", "--sweep", "steps=4,5")) == 0
    found = json.loads((out / "sweep.json").read_text())
    runs = [(run["model"], run["settings"]["steps"], run["settings"]["guidance"]) for run in found["runs"]]
    assert sorted(runs) == [("toy", s, g) for s in (4, 5) for g in (1, 2)] + [("toy-raster", 16, g) for g in (1, 2)]
    assert found["asked"]["seed"] == 1  # other captions and seeds than a comparison, which the choice must not see
    assert "guidance 2" in capsys.readouterr().out


def test_calibration_damages_as_it_says(
    script: ModuleType, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import calibrate  # type: ignore[import-not-found]

    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    changed = (calibrate.wrong_cells(images, 2) != images).any(-1).reshape(6, 8, 8, 8, 8).any((2, 4)).sum((1, 2))
    assert changed.max() == 2 and changed.min() >= 1
    moved = (calibrate.swapped(images, 0.5) != images).any((1, 2, 3))
    assert 0 < moved.sum() < 6
    grey = np.full((1, 64, 64, 3), 128, np.uint8)
    assert calibrate.noisy(grey, 5).std() == pytest.approx(5, rel=0.1)
    assert calibrate.blurred(images, 1).std() < images.std() / 2
    call = ["--n", "20", "--features", "thumbnails", "--dimensions", "3", "--out", str(tmp_path / "out")]
    calibrate.main(call)
    found = json.loads((tmp_path / "out" / "calibrate.json").read_text())["found"]
    distance = {name: one["frechet"]["distance"] for name, one in found.items()}
    assert distance["the real pictures"] < distance["noise of 1 in 255"] < distance["noise of 5 in 255"]
    assert found["half under wrong captions"]["nearest"]["seen"]["exact"]["mean"] < 1
    assert "the real pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sweep", "gidance=1"], "--sweep 'gidance=1'"),
        (["--sweep", "guidance=a"], "--sweep 'guidance=a'"),
        (["--models", "nothing"], "unknown model 'nothing'"),
        (["--dimensions", "30"], "30 principal directions"),
        (["--n", "0"], "need some"),
    ],
)
def test_a_wrong_call_is_one_line(
    script: ModuleType, models: list[str], tmp_path: Path, more: list[str], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert script.main(ask(models, tmp_path / "out", *more)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
