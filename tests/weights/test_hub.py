"""Names with ``hf:`` against a Hub that is a folder: fetched once, converted once, then read from here."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import safetensors.torch
import torch

from authors import model_state, nested, published_toys, tokenizer_state
from parvis.cli import main
from parvis.errors import UsageError, WeightsError
from parvis.pipeline import load
from parvis.systems import PUBLISHED
from parvis.weights import hub, public
from parvis.weights.convert import convert
from parvis.weights.public import PUBLIC, PublicWeights
from toys import toy


class Library(ModuleType):
    """Stands in for ``huggingface_hub``: repositories are folders, its cache is another folder."""

    def __init__(self, remote: Path, cache: Path) -> None:
        super().__init__("huggingface_hub")
        self.remote, self.cache, self.online, self.fetched = remote, cache, True, list[str]()
        self.breaks_after: int | None = None

    def hf_hub_download(self, repo: str, file: str, revision: str | None = None, local_files_only: bool = False) -> str:
        here = self.cache / repo / (revision or "main") / file
        if here.is_file():
            return str(here)
        self._reach(local_files_only)
        if not (self.remote / repo / file).is_file():
            raise FileNotFoundError(f"404 Client Error. Entry Not Found: {repo}/{file}\nmore lines")
        if self.breaks_after is not None and len(self.fetched) >= self.breaks_after:
            raise ConnectionError("the line broke")
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.remote / repo / file, here)
        self.fetched.append(file)
        return str(here)

    def snapshot_download(
        self, repo: str, revision: str | None, allow_patterns: tuple[str, ...] = (), local_files_only: bool = False
    ) -> str:
        place = self.cache / repo / (revision or "main")
        if local_files_only:
            if not place.is_dir():
                raise FileNotFoundError("not in the cache")
            return str(place)  # whatever part of it is there, as the library does
        self._reach(False)
        for file in sorted(path.name for path in (self.remote / repo).iterdir()):
            if any(Path(file).match(pattern) for pattern in allow_patterns):
                self.hf_hub_download(repo, file, revision)
        return str(place)

    def list_repo_files(self, repo: str, revision: str | None) -> list[str]:
        self._reach(False)
        return sorted(path.name for path in (self.remote / repo).iterdir())

    def _reach(self, local: bool) -> None:
        if local or not self.online:
            raise ConnectionError("offline")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """A Hub with the authors' ``toy/lpd`` and ``toy/vq``, two models in ``toy/both``, and a Parvis folder."""
    remote = tmp_path / "remote"
    for repo in ("toy/lpd", "toy/vq", "toy/both", "someone/folder", "someone/other"):
        (remote / repo).mkdir(parents=True)
    safetensors.torch.save_file(model_state("lpd"), remote / "toy/lpd/lpd_toy.safetensors")
    (remote / "toy/lpd/README.md").write_text("a card")
    safetensors.torch.save_file(tokenizer_state("lpd"), remote / "toy/vq/vq.safetensors")
    (remote / "someone/other/config.json").write_text('{"architectures": ["Other"]}')
    (remote / "someone/other/model.safetensors").write_bytes(b"large")
    fake = Library(remote, tmp_path / "hub-cache")
    vq = ("toy/vq", "vq.safetensors")
    rows = [
        PublicWeights("toy-lpd", "1", "toy/lpd", "", "model", vq, "MIT"),
        PublicWeights("toy-par", "1", "toy/both", "par.pt", "model", vq, "MIT"),
        PublicWeights("toy-raster", "1", "toy/both", "raster.pt", "model", vq, "MIT"),
    ]
    for module in (public, hub):
        monkeypatch.setattr(module, "PUBLIC", tuple(rows))
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.setenv("PARVIS_CACHE", str(tmp_path / "cache"))
    with published_toys():
        convert(
            remote / "toy/lpd/lpd_toy.safetensors", "toy-lpd", remote / "someone/folder",
            tokenizer=remote / "toy/vq/vq.safetensors",
        )  # fmt: skip
        yield fake


@pytest.mark.parametrize("name", ["hf:toy/lpd", "hf:toy-lpd", "hf:toy/lpd@v1.0"])
def test_authors_weights_are_fetched_and_converted_once(name: str, library: Library) -> None:
    first = load(name, device="cpu", precision="fp32")
    assert library.fetched == ["lpd_toy.safetensors", "vq.safetensors"]
    library.online = False
    sys.modules["huggingface_hub"] = None  # type: ignore[assignment]  # the second time it is not even imported
    again = load(name, device="cpu", precision="fp32")
    assert first.generate([1])[0].tobytes() == again.generate([1])[0].tobytes()
    query = toy("lpd").models["main"].state_dict()["query"]
    assert torch.equal(again.system.models["main"].state_dict()["query"], query)


def test_a_download_that_broke_leaves_nothing_and_goes_on(library: Library, tmp_path: Path) -> None:
    library.breaks_after = 1
    with pytest.raises(WeightsError, match=r"hf:toy/vq/vq\.safetensors: cannot be fetched \(the line broke\)"):
        load("hf:toy/lpd", device="cpu")
    assert not list((tmp_path / "cache").glob("**/config.json"))
    library.breaks_after = None
    assert load("hf:toy/lpd", device="cpu").name == "toy-lpd"
    assert library.fetched == ["lpd_toy.safetensors", "vq.safetensors"]  # the first file was not fetched again


def test_weights_that_do_not_fit_leave_no_model(library: Library, tmp_path: Path) -> None:
    safetensors.torch.save_file(model_state("par"), library.remote / "toy/lpd/lpd_toy.safetensors")
    with pytest.raises(WeightsError, match="looks like toy-par"):
        load("hf:toy/lpd", device="cpu")
    assert not list((tmp_path / "cache").glob("**/config.json"))


def test_a_parvis_folder_is_read_as_it_is(library: Library) -> None:
    library.breaks_after = 1
    with pytest.raises(WeightsError, match="the line broke"):
        load("hf:someone/folder", device="cpu")
    library.breaks_after = None
    assert load("hf:someone/folder", device="cpu").name == "toy-lpd"  # though the cache held a part of it
    assert sorted(library.fetched) == ["config.json", "model.safetensors", "tokenizer.safetensors"]
    library.online = False
    assert load("hf:someone/folder", device="cpu").name == "toy-lpd"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("hf:toy/both", UsageError, "holds several models; say which: hf:toy-par, hf:toy-raster"),
        ("hf:toy-none", UsageError, "no public weights are known of 'toy-none'; known: toy-lpd"),
        ("hf:a/b/c", UsageError, "no model on the Hub"),
        ("hf:", UsageError, "no model on the Hub"),
        ("hf:../secrets", WeightsError, "cannot be fetched"),
        ("hf:someone/other", WeightsError, "no Parvis model folder, and not among the public weights"),
        ("hf:toy-par", WeightsError, r"toy/both/par\.pt: cannot be fetched \(404 Client Error"),
    ],
)
def test_other_names_say_what_is_wrong(name: str, error: type[Exception], message: str, library: Library) -> None:
    with pytest.raises(error, match=message) as caught:
        load(name, device="cpu")
    assert "\n" not in str(caught.value)
    assert "model.safetensors" not in library.fetched


def test_without_the_extra_it_is_named(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in ("hf:toy/lpd", "hf:someone/folder", "hf:toy-par"):
        with pytest.raises(UsageError, match=r"pip install 'parvis\[hub\]'"):
            load(name, device="cpu")


def test_several_checkpoints_in_a_repository_are_not_guessed_among(library: Library) -> None:
    shutil.copy(library.remote / "toy/vq/vq.safetensors", library.remote / "toy/lpd/second.pt")
    with pytest.raises(WeightsError, match="2 checkpoints where one was expected"):
        load("hf:toy/lpd", device="cpu")


def test_the_command_finds_a_tokenizer_that_was_fetched_before(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["convert", str(library.remote / "toy/lpd/lpd_toy.safetensors"), "--system", "toy-lpd", "-o"]
    assert main([*call, str(tmp_path / "a")]) == 2
    assert "needs its tokenizer too" in capsys.readouterr().err
    library.hf_hub_download("toy/vq", "vq.safetensors")
    library.online = False
    assert main([*call, str(tmp_path / "a")]) == 0
    assert "vq.safetensors" in capsys.readouterr().out


def test_the_table_speaks_of_published_systems_and_of_their_presets() -> None:
    assert len({entry.system for entry in PUBLIC}) == len(PUBLIC)
    for entry in PUBLIC:
        with torch.device("meta"):
            system = PUBLISHED[entry.system]()
        assert entry.results
        preset = system.preset
        passes = preset.steps * (system.passes_per_group or 1)
        own = [result for result in entry.results if result.steps == passes]
        assert own, f"{entry.system} is published with other numbers of passes than its preset"
        first = own[0]  # the others are other ways of drawing in as many passes
        assert first.guidance == preset.guidance
        drawn = preset.sampling
        assert (first.top_k, first.top_p, first.temperature) == (drawn.top_k, drawn.top_p, drawn.temperature)
        printed = float(entry.size[:-1]) * {"M": 1e6, "B": 1e9}[entry.size[-1]]  # rounded, cut off, or of a relative
        count = sum(parameter.numel() for parameter in system.models["main"].parameters())
        assert abs(count / printed - 1) < 0.15, entry.system


@pytest.mark.parametrize(("name", "file"), [("mar-b-256", "checkpoint-last.pth"), ("xar-l-256", "kl16.ckpt")])
def test_what_is_not_on_the_hub_is_said_before_anything_is_fetched(name: str, file: str) -> None:
    with pytest.raises(UsageError, match=rf"{file} is not on the Hub .* with --tokenizer kl16\.ckpt"):
        load(f"hf:{name}")


def test_the_list_of_weights_has_a_row_for_every_file_and_every_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--weights"]) == 0
    printed = capsys.readouterr().out
    places, results = (table.splitlines()[2:] for table in printed.split("\n\n"))
    assert len(places) == len(PUBLIC) + 5 and len(results) == sum(len(entry.results) for entry in PUBLIC)
    assert any("mit-han-lab/lpd_xl_256" in line and "MIT" in line and "vq_ds16_c2i.pt" in line for line in places)
    assert {line.split()[-3] for line in places if line.startswith(("vq8", "kl16"))} == {"model"}
    assert any(line.startswith("vq8") and "vq_ds8_c2i.pt" in line for line in places)
    row = next(line for line in results if line.startswith("lpd-xxl-256"))
    for told in ("20", "locality, proximity 1, repulsion 3", "5.9", "linear in the rank", "2.00", "337.6", "torch-fid"):
        assert told in row
    assert main(["list", "--weights", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [len(told["weights"]), len(told["results"])] == [len(places), len(results)]
    arpg = next(result for result in told["results"] if result["system"] == "arpg-l-256")
    assert (arpg["order"], arpg["temperature"], arpg["per class"]) == ("random, arccos schedule", "1", "50")
    par = next(result for result in told["results"] if result["system"] == "par-xl-384-4x")
    assert (par["evaluator"], par["per class"], par["pixels"]) == ("OpenAI's ADM, 50,000 pictures", "at random", "256")


def test_a_checkpoint_in_the_authors_nesting_is_converted_too(library: Library) -> None:
    torch.save(nested(model_state("par"), "model"), library.remote / "toy/both/par.pt")
    safetensors.torch.save_file(tokenizer_state("par"), library.remote / "toy/vq/vq.safetensors")
    assert load("hf:toy-par", device="cpu").name == "toy-par"
