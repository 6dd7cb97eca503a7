"""Parvis against cases made by running the authors' code."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import safetensors.torch

from parvis.cli import main
from parvis.errors import UsageError, WeightsError
from parvis.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = (
    "arpg", "llamagen_c2i", "llamagen_t2i", "lpd", "lpd_orders", "mar", "nar", "par_4", "par_16", "randar", "var",
    "var_shared_aln", "var_vqvae", "vq16_deep", "vq16_wide", "xar",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_equals_the_authors_code(case: str) -> None:
    checks = verify(GOLDEN / f"{case}.safetensors")
    assert len(checks) >= 4
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize(("case", "count"), [("arpg_schedules", 34), ("randar_schedules", 15), ("lpd_tables", 46)])
def test_schedules_are_the_authors(case: str, count: int, tmp_path: Path) -> None:
    checks = verify(GOLDEN / f"{case}.json")
    assert len(checks) == count and all(check.passed for check in checks)
    facts = json.loads((GOLDEN / f"{case}.json").read_text())
    if case == "lpd_tables":
        sizes = facts["tables"]["lookup"]["256 resolution"]["20 steps"]
    else:
        sizes = next(table["sizes"] for table in facts["schedules"] if table["K"] == 8)
    sizes[0], sizes[-1] = sizes[0] + 1, sizes[-1] - 1
    (tmp_path / "wrong.json").write_text(json.dumps(facts))
    wrong = [check for check in verify(tmp_path / "wrong.json") if not check.passed]
    assert len(wrong) == 1 and 0 <= (wrong[0].agreement or 0) < 1


def test_a_case_may_be_named_by_its_json(tmp_path: Path) -> None:
    assert verify(GOLDEN / "vq16_wide.json") == verify(GOLDEN / "vq16_wide.safetensors")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(WeightsError, match="does not say which system"):
        verify(tmp_path / "list.json")
    (tmp_path / "cut.json").write_text('{"case": "lpd_tables"}')
    with pytest.raises(WeightsError, match="lacks 'tables'"):
        verify(tmp_path / "cut.json")


def test_a_wrong_weight_is_noticed(tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(GOLDEN / "lpd.safetensors")
    tensors["weights.mask_token"][..., 0] += 0.5
    safetensors.torch.save_file(tensors, tmp_path / "lpd.safetensors")
    shutil.copy(GOLDEN / "lpd.json", tmp_path)
    assert not all(check.passed for check in verify(tmp_path / "lpd.safetensors"))


@pytest.mark.parametrize(
    ("case", "weight"),
    [
        ("randar", "pos_instruct_embeddings"),
        ("arpg", "layers.to_k.weight"),
        ("arpg", "embeddings.weight"),
        ("nar", "medusa_output.weight"),
        ("nar", "norm.weight"),
    ],
)
def test_a_wrong_weight_is_noticed_elsewhere(tmp_path: Path, case: str, weight: str) -> None:
    tensors = safetensors.torch.load_file(GOLDEN / f"{case}.safetensors")
    tensors[f"weights.{weight}"][..., 0] += 0.5
    safetensors.torch.save_file(tensors, tmp_path / f"{case}.safetensors")
    shutil.copy(GOLDEN / f"{case}.json", tmp_path)
    wrong = [check.what for check in verify(tmp_path / f"{case}.safetensors") if not check.passed]
    assert any(what.startswith("teacher logits") for what in wrong)
    assert any(what.startswith("step logits") for what in wrong)


@pytest.mark.parametrize(
    ("case", "weight", "noticed"),
    [
        ("mar", "mask_token", "decoder"),
        ("mar", "encoder_blocks.0.attn.qkv.bias", "encoder"),
        ("mar", "diffloss.net.res_blocks.1.adaLN_modulation.1.bias", "latents_even, no_cfg"),
        ("mar", "fake_latent", "latents_even, cfg_linear"),
        ("xar", "class_emb.weight", "latents, cfg"),
        ("xar", "decoder_pos_embed_learned", "velocity"),
        ("xar", "decoder_blocks.0.mlp.fc1_x.bias", "loss"),
    ],
)
def test_one_wrong_weight_of_latents_is_noticed(case: str, weight: str, noticed: str, tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(GOLDEN / f"{case}.safetensors")
    wrong = tensors[f"weights.{weight}"]
    wrong.view(-1)[-1] += 0.5  # of the class table: the null class
    safetensors.torch.save_file(tensors, tmp_path / f"{case}.safetensors")
    shutil.copy(GOLDEN / f"{case}.json", tmp_path)
    checks = {check.what: check.passed for check in verify(tmp_path / f"{case}.safetensors")}
    assert not checks[noticed]


def test_what_nothing_is_compared_with_is_an_error(tmp_path: Path) -> None:
    """A mode with a name of its own, and a case without outputs: neither may pass in silence."""
    tensors = safetensors.torch.load_file(GOLDEN / "lpd.safetensors")
    shutil.copy(GOLDEN / "lpd.json", tmp_path)
    case = tmp_path / "lpd.safetensors"
    other = {"outputs.tokens_generation_order.cfg_cosine": tensors["outputs.tokens_generation_order.no_cfg"].clone()}
    safetensors.torch.save_file(tensors | other, case)
    with pytest.raises(WeightsError, match=r"nothing here is compared with: outputs\.tokens_generation_order\.cfg_cos"):
        verify(case)
    safetensors.torch.save_file({k: t for k, t in tensors.items() if not k.startswith("outputs.")}, case)
    with pytest.raises(WeightsError, match="holds no outputs"):
        verify(case)


@pytest.mark.parametrize(
    ("case", "output"),
    [
        ("par_4", "step_sizes"),
        ("par_16", "tokens_raster.cfg"),
        ("arpg", "tokens_raster.linear_cosine"),
        ("vq16_wide", "quantized"),
        ("var", "teacher_input"),
        ("nar", "teacher_loss"),
    ],
)
def test_a_wrong_output_is_noticed(case: str, output: str, tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(GOLDEN / f"{case}.safetensors")
    wrong = tensors[f"outputs.{output}"]
    wrong.view(-1)[-1] += 1
    safetensors.torch.save_file(tensors, tmp_path / f"{case}.safetensors")
    shutil.copy(GOLDEN / f"{case}.json", tmp_path)
    assert len([check for check in verify(tmp_path / f"{case}.safetensors") if not check.passed]) == 1


def test_a_missing_weight_is_an_error(tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(GOLDEN / "lpd.safetensors")
    del tensors["weights.mask_token"]
    safetensors.torch.save_file(tensors, tmp_path / "lpd.safetensors")
    shutil.copy(GOLDEN / "lpd.json", tmp_path)
    with pytest.raises(WeightsError, match="missing"):
        verify(tmp_path / "lpd.safetensors")


def test_an_unknown_system_is_an_error(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "lpd.safetensors", tmp_path)
    facts = json.loads((GOLDEN / "lpd.json").read_text()) | {"system": "other"}
    (tmp_path / "lpd.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="known: LlamaGen"):
        verify(tmp_path / "lpd.safetensors")


def test_a_truncated_case_is_an_error(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "lpd.json", tmp_path)
    (tmp_path / "lpd.safetensors").write_bytes((GOLDEN / "lpd.safetensors").read_bytes()[:5000])
    with pytest.raises(WeightsError, match="cannot read the case"):
        verify(tmp_path / "lpd.safetensors")


def test_the_command_prints_agreement_and_differences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(GOLDEN / "lpd.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert "lpd.safetensors: agrees" in printed
    assert re.search(r"^tokens, cfg_linear +100\.00 % +.* same$", printed, re.M)
    largest = re.findall(r"^step logits, \S+ .*?(\d\.\de-\d\d) +same$", printed, re.M)
    assert len(largest) >= 3 and all(float(number) < 1e-4 for number in largest)


def test_the_command_fails_where_a_case_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = safetensors.torch.load_file(GOLDEN / "lpd.safetensors")
    tensors["weights.head.weight"][0] *= 1.01
    safetensors.torch.save_file(tensors, tmp_path / "lpd.safetensors")
    shutil.copy(GOLDEN / "lpd.json", tmp_path)
    assert main(["verify", str(GOLDEN / "llamagen_c2i.safetensors"), str(tmp_path / "lpd.safetensors")]) == 1
    printed = capsys.readouterr().out
    assert "llamagen_c2i.safetensors: agrees" in printed and "lpd.safetensors: does not agree" in printed
    assert "DIFFERS" in printed


def test_the_command_fails_on_a_case_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "none.safetensors")]) == 1
    assert "cannot read the case" in capsys.readouterr().err
