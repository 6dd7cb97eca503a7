"""Authors' checkpoints to folders and back: every system, every nesting, and what must be refused."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from authors import TOYS, model_state, nested, published_toys, tokenizer_state
from parvis.cli import main
from parvis.errors import ParvisError, UnknownName, UsageError, WeightsError
from parvis.pipeline import load
from parvis.weights import checkpoint, unpickle
from parvis.weights.checkpoint import bare, open_checkpoint
from parvis.weights.convert import Options, convert
from parvis.weights.export import export
from parvis.weights.folder import load_config, verify_folder
from parvis.weights.layouts import LAYOUTS
from parvis.weights.match import Match
from toys import given as condition_of
from toys import toy

Capture = pytest.CaptureFixture[str]
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    with published_toys():
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickles are read in this process: a new one takes seconds to import PyTorch."""

    def run(command: list[str], **_: object) -> object:
        return subprocess.CompletedProcess(command, unpickle.main(*command[3:]), b"", b"")

    monkeypatch.setattr(unpickle, "limit", lambda allowed: None)
    monkeypatch.setattr(subprocess, "run", run)


def write(path: Path, content: Any) -> Path:
    (safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save)(content, path)
    return path


def read(path: Path, *keys: str) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    content = torch.load(path, weights_only=True)
    for key in keys:
        content = content[key]
    return content  # type: ignore[no-any-return]


def checkpoints(folder: Path, name: str) -> tuple[Path, Path]:
    """The model's and the tokenizer's file of a toy, as its authors' code writes them."""
    model = write(folder / "model.safetensors", model_state(name))
    tokenizer = write(folder / "vq.safetensors", tokenizer_state(name))
    return model, tokenizer


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("name", TOYS)
def test_there_and_back_is_the_same_bits(name: str, tmp_path: Path) -> None:
    model, tokenizer = checkpoints(tmp_path, name)
    convert(model, f"toy-{name}", tmp_path / "folder", tokenizer=tokenizer)
    verify_folder(tmp_path / "folder")
    count = export(tmp_path / "folder", tmp_path / "back.safetensors")
    assert count == len(model_state(name))
    assert_same(read(tmp_path / "back.safetensors"), model_state(name))
    export(tmp_path / "folder", tmp_path / "vq_back.safetensors", part="tokenizer")
    assert_same(read(tmp_path / "vq_back.safetensors"), tokenizer_state(name))


@pytest.mark.parametrize("name", TOYS)
def test_what_is_converted_generates_the_same_by_its_preset(name: str, tmp_path: Path) -> None:
    model, tokenizer = checkpoints(tmp_path, name)
    convert(model, f"toy-{name}", tmp_path / "folder", tokenizer=tokenizer)
    pipeline = load(tmp_path / "folder", device="cpu", precision="fp32")
    condition = condition_of(toy(name), 2)
    if toy(name).takes == "features":
        images = pipeline.generate(features=condition.values, mask=condition.visible)  # type: ignore[union-attr]
    else:
        images = pipeline.generate([0, 1]) if toy(name).takes == "classes" else pipeline.generate(["a", "b"])
    assert images.passes == toy(name).preset.steps * (toy(name).passes_per_group or 1) and len(images) == 2
    assert images.settings["steps"] == toy(name).preset.steps
    assert images.settings["guidance"] == toy(name).preset.guidance
    for key, tensor in toy(name).models["main"].state_dict().items():
        assert torch.equal(pipeline.system.models["main"].state_dict()[key], tensor)


PLACES = [("model",), ("module",), ("state_dict",), ("trainer", "var_wo_ddp"), ()]
PREFIXES = ["module.", "_orig_mod.", "module._orig_mod.", "_fsdp_wrapped_module."]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("path", "prefix"), [*((p, "") for p in PLACES), *((("model",), p) for p in PREFIXES)])
def test_nesting_and_wrappers_are_found(path: tuple[str, ...], prefix: str, tmp_path: Path) -> None:
    state = {f"{prefix}{key}": tensor for key, tensor in model_state("lpd").items()}
    extra = {} if not path else {
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(lr=0.1, name="x"), "epoch": 3,
    }  # fmt: skip
    file = write(tmp_path / "c.pth", nested(state, *path) | extra)
    matches: list[Match] = []
    _, tokenizer = checkpoints(tmp_path, "lpd")
    convert(file, "toy-lpd", tmp_path / "f", tokenizer=tokenizer, options=Options(told=matches.append))
    assert matches[0].group == ("/".join(path) or "the file itself") and matches[0].complete
    export(tmp_path / "f", tmp_path / "back.pt")
    assert_same(read(tmp_path / "back.pt", "model"), model_state("lpd"))
    assert not list(tmp_path.glob(".parvis-*"))


def test_wrappers_in_the_middle_of_a_name_are_taken_out() -> None:
    assert bare("module._fsdp_wrapped_module.layers.0._fsdp_wrapped_module.attention.wqkv.weight") == (
        "layers.0.attention.wqkv.weight"
    )
    assert bare("layers.0.module.weight") == "layers.0.module.weight"


@pytest.mark.usefixtures("quick")
def test_the_averaged_weights_are_a_choice(tmp_path: Path) -> None:
    state = model_state("lpd")
    averaged = {key: tensor + 1 for key, tensor in state.items()}
    file = write(tmp_path / "c.pth", {"model": state, "model_ema": averaged, "epoch": 1})
    _, tokenizer = checkpoints(tmp_path, "lpd")
    for ema, wanted in ((None, state), (False, state), (True, averaged)):
        convert(file, "toy-lpd", tmp_path / "f", tokenizer=tokenizer, options=Options(ema=ema))
        export(tmp_path / "f", tmp_path / "back.safetensors")
        assert_same(read(tmp_path / "back.safetensors"), wanted)
    plain = write(tmp_path / "p.pth", {"model": state})
    with pytest.raises(WeightsError, match=r"no weights that are averaged \(EMA\); it holds model"):
        convert(plain, "toy-lpd", tmp_path / "g", tokenizer=tokenizer, options=Options(ema=True))


@pytest.mark.usefixtures("quick")
def test_one_file_may_hold_model_and_tokenizer(tmp_path: Path) -> None:
    trainer = {"var_wo_ddp": model_state("var"), "vae_local": tokenizer_state("var")}
    file = write(tmp_path / "ar-ckpt-last.pth", {"trainer": trainer, "args": {"depth": 2}})
    matches: list[Match] = []
    convert(file, "toy-var", tmp_path / "f", options=Options(told=matches.append))
    assert [found.group for found in matches] == ["trainer/var_wo_ddp", "trainer/vae_local"]
    assert "attn_bias_for_masking" in matches[0].dropped
    export(tmp_path / "f", tmp_path / "back.pth")
    assert_same(read(tmp_path / "back.pth"), model_state("var"))  # VAR's own files are not nested


def test_precision_on_disk_is_of_the_model_alone(tmp_path: Path) -> None:
    model, tokenizer = checkpoints(tmp_path, "lpd")
    convert(model, "toy-lpd", tmp_path / "f", tokenizer=tokenizer, options=Options(precision="bf16"))
    stored = safetensors.torch.load_file(tmp_path / "f" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert torch.equal(stored["query"], toy("lpd").models["main"].state_dict()["query"].bfloat16())
    codes = safetensors.torch.load_file(tmp_path / "f" / "tokenizer.safetensors")
    assert {tensor.dtype for tensor in codes.values()} == {torch.float32}
    with pytest.raises(UnknownName, match="precision 'int4'"):
        Options(precision="int4")


class Payload:
    """Unpickled in full it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize(
    ("suffix", "message"),
    [(".pt", "asks for posix.system, which could run code"), (".safetensors", "under the name of")],
)
def test_no_code_in_a_checkpoint_is_run(
    suffix: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    touched, file = tmp_path / "touched", tmp_path / f"hostile{suffix}"
    torch.save({"model": model_state("lpd"), "extra": Payload(touched)}, file)
    assert main(["convert", str(file), "--system", "toy-lpd", "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said
    assert not touched.exists() and not (tmp_path / "out").exists() and not list(tmp_path.glob(".parvis-*"))
    torch.load(file.rename(tmp_path / "let_in.pt"), weights_only=False)  # the payload works where it is let in
    assert touched.exists()


def archive(path: Path, change: str) -> Path:
    """A checkpoint whose records were compressed."""
    torch.save({"model": {"a": torch.zeros(1000)}}, path.with_suffix(".whole"))
    with zipfile.ZipFile(path.with_suffix(".whole")) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if change != "no pickle" or not name.endswith("data.pkl"):
                new.writestr(name, old.read(name))
    return path


def broken(kind: str, tmp_path: Path) -> Path:
    path = tmp_path / "bad.pt"
    if kind == "truncated":
        torch.save({"model": model_state("lpd")}, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "truncated safetensors":
        safetensors.torch.save_file(model_state("lpd"), path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "text":
        path.write_text("<!doctype html>")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "bare pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    elif kind in ("compressed", "no pickle"):
        archive(path, kind)
    elif kind == "a list":
        torch.save([torch.zeros(3)], path)
    elif kind == "no tensors":
        torch.save({"epoch": 3}, path)
    elif kind == "sparse":
        torch.save({"model": {"a": torch.eye(3).to_sparse()}}, path)
    elif kind == "inflated":
        torch.save({"model": {"a": torch.zeros(1).expand(1 << 40)}}, path)
    elif kind == "many views":
        base = torch.zeros(1 << 20)
        torch.save({"model": {str(i): base.view(-1) for i in range(64)}}, path)
    elif kind == "many dictionaries":  # 300 of 300 of one, all the same
        inner: dict[str, Any] = {"a": torch.zeros(1)}
        for _ in range(2):
            inner = {str(i): inner for i in range(300)}
        torch.save(inner, path)
    elif kind == "not finite":
        state = model_state("lpd")
        torch.save({"model": state | {"fake_latent": state["fake_latent"] / 0}}, path)
    elif kind == "complex":
        state = model_state("lpd")
        torch.save({"model": state | {"fake_latent": state["fake_latent"].to(torch.complex64)}}, path)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nothing", "cannot be opened"),
        ("truncated", "truncated or damaged"),
        ("truncated safetensors", "not a whole safetensors file"),
        ("text", "was the download a web page"),
        ("empty", "no checkpoint"),
        ("folder", "is a folder"),
        ("bare pickle", "PyTorch before 1.6"),
        ("compressed", "compressed or overlap"),
        ("no pickle", "no PyTorch checkpoint of tensors"),
        ("a list", "holds a list"),
        ("no tensors", "holds no tensors"),
        ("sparse", "sparse"),
        ("inflated", "larger than what the file holds"),
        ("many views", "unfolds to more than"),
        ("many dictionaries", "unfolds to more than"),
        ("not finite", "not finite"),
        ("complex", "of another shape"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_what_is_no_checkpoint_is_one_line(kind: str, message: str, tmp_path: Path, capsys: Capture) -> None:
    _, tokenizer = checkpoints(tmp_path, "lpd")
    path = broken(kind, tmp_path)
    call = ["convert", str(path), "--system", "toy-lpd", "--tokenizer", str(tokenizer), "-o", str(tmp_path / "out")]
    assert main(call) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and message in captured.err and str(path) in captured.err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_a_reader_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "c.pt", {"model": {"a": torch.zeros(3)}})
    slow = tmp_path / "slow.py"
    slow.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(checkpoint.unpickle, "__file__", str(slow))
    monkeypatch.setattr(checkpoint, "SECONDS", 0.3)
    with pytest.raises(WeightsError, match="not read within 0 s"), open_checkpoint(file, tmp_path):
        pass
    slow.write_text("import os; os.kill(os.getpid(), 9)")
    monkeypatch.setattr(checkpoint, "SECONDS", 60)
    with pytest.raises(WeightsError, match="exit code -9"), open_checkpoint(file, tmp_path):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_token": None}, r"1 missing \(query\)"),
        ({"surprise": torch.zeros(2)}, r"1 unexpected \(surprise\)"),
        ({"mask_token": torch.zeros(1, 1, 3)}, r"1 of another shape \(mask_token \[1, 1, 3\], needed \[32\]\)"),
    ],
)
def test_what_is_not_explained_is_an_error(change: dict[str, Tensor | None], message: str, tmp_path: Path) -> None:
    state = {key: tensor for key, tensor in (model_state("lpd") | change).items() if tensor is not None}
    file = write(tmp_path / "c.safetensors", state)
    with pytest.raises(WeightsError, match=message):
        convert(file, "toy-lpd", tmp_path / "f", tokenizer=checkpoints(tmp_path, "lpd")[1])
    assert not (tmp_path / "f").exists()


def test_names_that_a_terminal_would_obey_are_shown_harmless(tmp_path: Path, capsys: Capture) -> None:
    state = model_state("lpd") | {"\x1b[2Jred": torch.zeros(2), "x" * 5000: torch.zeros(2)}
    file = write(tmp_path / "c.safetensors", state)
    tokenizer = checkpoints(tmp_path, "lpd")[1]
    assert main(["convert", str(file), "--system", "toy-lpd", "--tokenizer", str(tokenizer), "-o", str(tmp_path / "f")])
    said = capsys.readouterr().err
    assert "2 unexpected (?[2Jred, xxx" in said and len(said) < 600


def test_two_names_that_wrappers_made_of_one_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "c.safetensors", {"a": torch.zeros(1), "module.a": torch.ones(1)})
    with pytest.raises(WeightsError, match="two tensors of the file are 'a'"):
        convert(file, "toy-lpd", tmp_path / "f")


def test_another_system_or_size_is_named(tmp_path: Path) -> None:
    par = write(tmp_path / "c.safetensors", model_state("par"))
    with pytest.raises(WeightsError, match=r"it looks like toy-par: give that to --system"):
        convert(par, "toy-lpd", tmp_path / "f")
    state = model_state("raster")
    wide = write(tmp_path / "w.safetensors", {key: torch.cat([tensor, tensor]) for key, tensor in state.items()})
    with pytest.raises(WeightsError, match=r"names are those of .*toy-raster, but no published size has these shapes"):
        convert(wide, "toy-raster", tmp_path / "f")
    half = write(tmp_path / "h.safetensors", dict(sorted(model_state("lpd").items())[3:]))
    with pytest.raises(WeightsError, match=r"3 missing .*it looks like a part of toy-lpd: fetch it again"):
        convert(half, "toy-lpd", tmp_path / "f")
    alien = write(tmp_path / "a.safetensors", {"conv.weight": torch.zeros(3)})
    with pytest.raises(WeightsError, match="of no system that Parvis knows"):
        convert(alien, "toy-raster", tmp_path / "f")
    tokenizer = write(tmp_path / "t.safetensors", tokenizer_state("raster"))
    with pytest.raises(WeightsError, match="131 of another shape"):
        convert(tokenizer, "vq16", tmp_path / "f")


def test_the_tokenizer_is_needed(tmp_path: Path) -> None:
    model, tokenizer = checkpoints(tmp_path, "lpd")
    with pytest.raises(UsageError, match=r"needs its tokenizer too.*--tokenizer"):
        convert(model, "toy-lpd", tmp_path / "f")
    wrong = write(tmp_path / "wrong.safetensors", model_state("par"))
    with pytest.raises(WeightsError, match=r"wrong\.safetensors: .*looks like toy-par"):
        convert(model, "toy-lpd", tmp_path / "f", tokenizer=wrong)
    assert not (tmp_path / "f").exists()
    convert(model, "toy-lpd", tmp_path / "first", tokenizer=tokenizer)
    convert(model, "toy-lpd", tmp_path / "second", tokenizer=tmp_path / "first")  # a folder brings its own
    one, two = load_config(tmp_path / "first"), load_config(tmp_path / "second")
    assert one.files == two.files and one.about["source"] == "model.safetensors"


def test_positions_are_stretched_only_when_asked(tmp_path: Path) -> None:
    from parvis.grid import Grid
    from parvis.systems import lpd

    system = toy("lpd")  # 4 x 6 tokens
    small = torch.randn(1, 1 + 9, 32)
    file = write(tmp_path / "c.safetensors", model_state("lpd") | {"pos_embed": small})
    _, tokenizer = checkpoints(tmp_path, "lpd")
    with pytest.raises(WeightsError, match="another shape"):
        convert(file, "toy-lpd", tmp_path / "f", tokenizer=tokenizer)
    matches: list[Match] = []
    options = Options(stretch=True, told=matches.append)
    convert(file, "toy-lpd", tmp_path / "f", tokenizer=tokenizer, options=options)
    table = load(tmp_path / "f", device="cpu", precision="fp32").system.models["main"].state_dict()["positions.table"]
    assert torch.equal(table, lpd.stretched(small[0], Grid.square(3), system.grid))
    assert matches[0].stretched == (("pos_embed", small.shape, table.shape),)
    odd = write(tmp_path / "o.safetensors", model_state("lpd") | {"pos_embed": torch.randn(1, 1 + 8, 32)})
    with pytest.raises(WeightsError, match="cannot be stretched"):
        convert(odd, "toy-lpd", tmp_path / "f", tokenizer=tokenizer, options=options)


def test_the_command_says_what_became_of_every_name(tmp_path: Path, capsys: Capture) -> None:
    model, tokenizer = checkpoints(tmp_path, "var")
    call = ["convert", str(model), "--system", "toy-var", "--tokenizer", str(tokenizer), "-o", str(tmp_path / "f")]
    assert main(call) == 0
    said = capsys.readouterr().out
    assert "model: " in said and "4 dropped" in said and "1 reshaped" in said and "M parameters" in said
    assert main([*call, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["error"] is None and [part["part"] for part in report["parts"]] == ["model", "tokenizer"]
    assert report["parts"][0]["matched"]["pos_1LC"] == "positions.table"
    assert report["parts"][0]["reshaped"] == [{"name": "pos_1LC", "given": [1, 14, 32], "needed": [14, 32]}]
    assert main([*call[:3], "toy-lpd", *call[4:], "--json"]) == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert "looks like toy-var" in report["error"] and report["parts"][0]["missing"] and "looks like" in captured.err
    assert main(["convert", str(model), "--system", "toy-vra", "-o", "x"]) == 2
    assert "did you mean 'toy-var'" in capsys.readouterr().err


def test_an_export_needs_a_name_that_says_what_to_write(tmp_path: Path, capsys: Capture) -> None:
    model, tokenizer = checkpoints(tmp_path, "par")
    convert(model, "toy-par", tmp_path / "f", tokenizer=tokenizer)
    assert main(["export", str(tmp_path / "f"), "-o", str(tmp_path / "x.bin")]) == 2
    assert "must end in" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "f"), "-o", str(tmp_path / "x.pt")]) == 0
    assert "under the authors' names" in capsys.readouterr().out
    with pytest.raises(UsageError, match="Parvis' own"):
        export(Path(__file__).parents[2] / "src/parvis/bundled/emoji-64", tmp_path / "y.pt")
    with pytest.raises(ParvisError):
        export(tmp_path / "f", model / "no" / "x.pt")


@pytest.mark.usefixtures("quick")
def test_a_tokenizer_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from parvis.tokenizer.folder import load_tokenizer
    from parvis.tokenizer.vqgan import VQGAN
    from parvis.weights.layouts import TOKENIZERS

    config = toy("lpd").tokenizer.config
    monkeypatch.setitem(TOKENIZERS, "vq-toy", lambda: VQGAN(config))  # type: ignore[arg-type]
    file = write(tmp_path / "vq_ds16_c2i.pt", {"model": tokenizer_state("lpd")})
    convert(file, "vq-toy", tmp_path / "f")
    pixels = torch.rand(1, 3, 8, 8) * 2 - 1
    assert torch.equal(load_tokenizer(tmp_path / "f").encode(pixels), toy("lpd").tokenizer.encode(pixels))
    export(tmp_path / "f", tmp_path / "back.pt", part="tokenizer")
    assert_same(read(tmp_path / "back.pt", "model"), tokenizer_state("lpd"))
    with pytest.raises(UsageError, match="--part tokenizer"):
        export(tmp_path / "f", tmp_path / "back.pt")


@pytest.mark.usefixtures("quick")
def test_a_tokenizer_of_latents_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """As kl16.ckpt is kept, with the weights of its training loss."""
    from parvis.tokenizer.folder import load_tokenizer, read_tokenizer
    from parvis.tokenizer.kl import KL
    from parvis.weights.layouts import TOKENIZERS

    tokenizer = toy("mar").tokenizer
    assert isinstance(tokenizer, KL)
    monkeypatch.setitem(TOKENIZERS, "kl-toy", lambda: KL(tokenizer.config))
    extra = {"loss.discriminator.main.0.weight": torch.ones(2), "loss.logvar": torch.ones(())}
    file = write(tmp_path / "kl16.ckpt", {"model": tokenizer_state("mar") | extra})
    matches: list[Match] = []
    convert(file, "kl-toy", tmp_path / "f", options=Options(told=matches.append))
    assert matches[0].dropped == tuple(sorted(extra))
    pixels = torch.rand(1, 3, 8, 8) * 2 - 1
    assert torch.equal(read_tokenizer(tmp_path / "f").encode(pixels), tokenizer.encode(pixels))
    export(tmp_path / "f", tmp_path / "back.pt", part="tokenizer")
    assert_same(read(tmp_path / "back.pt", "model"), tokenizer_state("mar"))
    with pytest.raises(WeightsError, match="tokenizer of latents, which has no codes"):
        load_tokenizer(tmp_path / "f")
    assert main(["tokenizer", "info", str(tmp_path / "f")]) == 0
    assert re.search(r"^channels +3$", capsys.readouterr().out, re.M)
    model = write(tmp_path / "m.safetensors", model_state("mar"))
    convert(model, "toy-mar", tmp_path / "g", tokenizer=tmp_path / "f")
    verify_folder(tmp_path / "g")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["mar", "xar"])
def test_latent_systems_take_the_average_and_export_it_as_both(name: str, tmp_path: Path) -> None:
    """Their training files hold ``model`` and ``model_ema``; they sample with the second and load both."""
    averaged = model_state(name)
    derived = set(LAYOUTS[name].derived(toy(name)))
    latest = {key: tensor if key in derived else tensor + 1 for key, tensor in averaged.items()}
    parameters = {key: tensor for key, tensor in averaged.items() if key not in derived}
    file = write(tmp_path / "checkpoint-last.pth", {"model": latest, "model_ema": parameters, "epoch": 799})
    codes = write(tmp_path / "kl16.ckpt", {"model": tokenizer_state(name)})
    for options, want in ((Options(), averaged), (Options(ema=False), latest)):
        convert(file, f"toy-{name}", tmp_path / "f", tokenizer=codes, options=options)
        export(tmp_path / "f", tmp_path / "back.pth")
        for key in ("model", "model_ema"):
            assert_same(read(tmp_path / "back.pth", key), want)
