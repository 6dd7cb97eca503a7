"""Published systems have the published sizes and the authors' parameter names. On the meta device: no memory."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from parvis.errors import UnknownName
from parvis.system import System
from parvis.systems import PUBLISHED, SYSTEMS, arpg, llamagen, lpd, mar, nar, par, randar, var, xar
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.weights import maps
from parvis.weights.keys import KeyMap, is_bijection

GOLDEN = Path(__file__).parents[1] / "golden"

ROUNDED = {
    "llamagen-b-256": 110.9,
    "llamagen-l-256": 342.9,
    "llamagen-xl-384": 774.7,
    "llamagen-xxl-384": 1411,
    "llamagen-3b-384": 3097,
    "arpg-l-256": 319.8,
    "arpg-xl-256": 719.0,
    "arpg-xxl-256": 1302,
    "nar-b-256": 130.6,
    "nar-m-256": 295,
    "nar-l-256": 372.5,
    "nar-xl-256": 816.0,
    "nar-xxl-256": 1464,
    "lpd-l-256": 337.2,
    "lpd-xl-256": 751.9,
    "lpd-xxl-256": 1412,
}
"""Millions of parameters, rounded to the last digit given: LlamaGen (arXiv 2406.06525: 111M, 343M, 775M, 1.4B, 3.1B)
LPD (arXiv 2507.01957: 337M, 752M, 1.4B), ARPG (arXiv 2503.10568: 320M, 719M, 1.3B) and NAR (arXiv 2503.10696: 130M,
290M, 372M, 816M, 1.46B) with the digits that their released code gives."""

CUT = {"var-d16-256": (310, 1), "var-d20-256": (600, 1), "var-d24-256": (1000, 100), "var-d30-256": (2000, 100)} | {
    "var-d36-512": (2300, 100),
    "xar-b-256": (172, 1),
    "xar-l-256": (608, 1),
    "xar-h-256": (1100, 100),
}
"""Millions of parameters and the step they are cut off at (not rounded): VAR's and xAR's lists of released models."""

RANDAR = {"randar-l-256": (300, 100), "randar-xl-256": (700, 100), "randar-xxl-256": (1400, 100)}
"""The same of RandAR: 0.3B, 0.7B, 1.4B in the names of its files."""

UP = {"mar-b-256": 208, "mar-l-256": 479, "mar-h-256": 943}
"""Millions of parameters, rounded up: MAR (arXiv 2406.11838, and its list of released models)."""

MAPS = {
    "llamagen": maps.LLAMAGEN,
    "lpd": maps.LPD,
    "par": maps.PAR,
    "randar": maps.RANDAR,
    "arpg": maps.ARPG,
    "nar": maps.NAR,
    "var": maps.VAR,
    "mar": maps.MAR,
    "xar": maps.XAR,
}
CASES = {
    "llamagen": "llamagen_c2i",
    "lpd": "lpd",
    "par": "par_4",
    "randar": "randar",
    "arpg": "arpg",
    "nar": "nar",
    "var": "var",
}


ANY_STEPS = ("arpg", "lpd", "mar", "randar")
OTHER_CASES = {"var-d36-512": "var_shared_aln"} | {f"llamagen-t2i-xl-{side}": "llamagen_t2i" for side in (256, 512)}
"""NAR from text has no case of its own: see below."""


@lru_cache
def build(name: str) -> System:
    with torch.device("meta"):
        return PUBLISHED[name]()


def millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def official(case: str, depth: int | None = None) -> set[str]:
    """The authors' names (from a case that their code made), the first layer repeated ``depth`` times."""
    with safe_open(GOLDEN / f"{case}.safetensors", "pt") as file:
        names = [name.removeprefix("weights.") for name in file.keys() if name.startswith("weights.")]  # noqa: SIM118
    layer = re.compile(r"(layers|blocks|self_dec|cross_dec)\.\d+\.")
    once = {layer.sub(r"\1.#.", name) for name in names}
    if depth is None:
        return set(names)
    return {name.replace("#", str(i)) for name in once for i in range(depth if "#" in name else 1)}


def assert_names_are_theirs(module: nn.Module, key_map: KeyMap, theirs: set[str]) -> None:
    """The map takes our names to exactly the authors' names (less what it drops), and back."""
    ours = list(module.state_dict())
    assert is_bijection(key_map, ours)
    assert {key_map.theirs(name) for name in ours} == {name for name in theirs if not key_map.drops(name)}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_published_system_builds_without_memory(name: str) -> None:
    system = build(name)
    assert system.name == name
    for module in (system.tokenizer, *system.models.values()):
        assert all(parameter.is_meta for parameter in module.parameters())
        real = [buffer for buffer in module.buffers() if not buffer.is_meta]
        assert sum(buffer.numel() for buffer in real) < 200_000  # rotary angles and scale numbers only


@pytest.mark.parametrize("name", ROUNDED)
def test_parameters_as_published(name: str) -> None:
    published, count = ROUNDED[name], millions(build(name).models["main"])
    digits = 0 if isinstance(published, int) else 1
    assert round(count, digits) == published


@pytest.mark.parametrize("name", CUT | RANDAR)
def test_parameters_as_published_cut_off(name: str) -> None:
    published, step = (CUT | RANDAR)[name]
    assert millions(build(name).models["main"]) // step * step == published


@pytest.mark.parametrize("name", UP)
def test_parameters_as_published_rounded_up(name: str) -> None:
    assert math.ceil(millions(build(name).models["main"])) == UP[name]


def test_the_counts_in_the_documentation_are_these() -> None:
    text = (GOLDEN.parents[1] / "docs" / "verify.md").read_text()
    rows = {
        "LlamaGen B, L, XL, XXL, 3B": [f"llamagen-{size}-384" for size in ("b", "l", "xl", "xxl", "3b")],
        "LPD L, XL, XXL at 256": [f"lpd-{size}-256" for size in ("l", "xl", "xxl")],
        "VAR d16, d20, d24, d30, d36": [name for name in CUT if name.startswith("var")],
        "MAR B, L, H": list(UP),
        "xAR B, L, H": [name for name in CUT if name.startswith("xar")],
        "RandAR L, XL, XXL": list(RANDAR),
        "NAR B, M, L, XL, XXL": [f"nar-{size}-256" for size in ("b", "m", "l", "xl", "xxl")],
        "ARPG L, XL, XXL": [f"arpg-{size}-256" for size in ("l", "xl", "xxl")],
    }
    for title, names in rows.items():
        counts = ", ".join(f"{millions(build(name).models['main']):.3f}" for name in names)
        assert re.search(rf"^\| {title} \|.*\| {re.escape(counts)} \|$", text, re.M), counts


def test_resolution_and_transition_tokens_change_only_their_own_tables() -> None:
    """LPD at 512 has 768 position vectors more; PAR has n - 1 rows more than LlamaGen, RandAR one; LlamaGen has no
    table at all."""
    count = {name: round(millions(build(name).models["main"]) * 1e6) for name in PUBLISHED}
    assert count["lpd-l-512"] - count["lpd-l-256"] == 768 * 1024
    assert count["llamagen-l-384"] == count["llamagen-l-256"]
    for size, width in (("l", 1024), ("xl", 1280), ("xxl", 1536), ("3b", 3200)):
        for tokens in (4, 16):
            more = count[f"par-{size}-384-{tokens}x"] - count[f"llamagen-{size}-384"]
            assert more == (tokens - 1) * width
        if size != "3b":
            assert count[f"randar-{size}-256"] - count[f"llamagen-{size}-384"] == width


@pytest.mark.parametrize("name", [name for name in sorted(PUBLISHED) if name.startswith(("mar", "xar"))])
def test_names_of_the_latent_systems_are_the_authors(name: str) -> None:
    """Of stacks of several depths the first layer is repeated as often as ours has it."""
    family, model = name.split("-")[0], build(name).models["main"]
    depths = {"encoder_blocks": len(model.encoder), "decoder_blocks": len(model.decoder)}
    if family == "mar":
        depths["res_blocks"] = len(model.head.blocks)
    theirs = set()
    for once in official(family):
        stack = next((stack for stack in depths if f"{stack}.0." in once), None)
        copies = 1 if stack is None else depths[stack]
        theirs |= {once.replace(f"{stack}.0.", f"{stack}.{i}.") for i in range(copies)}
    assert_names_are_theirs(model, MAPS[family], theirs)


@pytest.mark.parametrize("name", [name for name in sorted(PUBLISHED) if not name.startswith(("mar", "xar", "nar-t2i"))])
def test_names_are_the_authors(name: str) -> None:
    family, model = name.split("-")[0], build(name).models["main"]
    case = OTHER_CASES.get(name, CASES[family])
    assert_names_are_theirs(model, MAPS[family], official(case, len(model.blocks)))


@pytest.mark.parametrize("family", ["llamagen", "nar"])
@pytest.mark.parametrize("side", [256, 512])
def test_names_of_text_conditional_systems_are_the_authors(family: str, side: int) -> None:
    """NAR's are LlamaGen's and those of its own second head."""
    model = build(f"{family}-t2i-xl-{side}").models["main"]
    theirs = official("llamagen_t2i", len(model.blocks))
    if family == "nar":
        theirs |= {name for name in official("nar") if name.startswith("medusa")}
    assert_names_are_theirs(model, MAPS[family], theirs)
    assert model.state_dict()["condition.absent"].shape == (120, 2048)


def test_names_of_the_tokenizers_are_the_authors() -> None:
    with torch.device("meta"):
        vq16 = VQGAN(VQConfig())
        vq8 = VQGAN(VQConfig(multipliers=(1, 2, 2, 4)))
        small = MultiScaleVQ(MultiScaleConfig((1, 2, 3, 4), multipliers=(2, 1)))
        var_vq = MultiScaleVQ(MultiScaleConfig())
    shortcuts = {name for name in vq16.state_dict() if "nin_shortcut" in name}  # only where the width changes
    assert len(shortcuts) == 8
    assert_names_are_theirs(vq16, maps.VQ16, official("vq16_deep") | shortcuts)
    assert_names_are_theirs(small, maps.VAR_VQ, official("var_vqvae"))
    assert is_bijection(maps.VQ16, vq8.state_dict()) and is_bijection(maps.VAR_VQ, var_vq.state_dict())
    assert (vq8.factor, vq16.factor, var_vq.factor) == (8, 16, 16)
    assert [round(millions(tokenizer)) for tokenizer in (vq8, vq16)] == [70, 72]  # as LlamaGen's README says


@pytest.mark.parametrize("name", [name for name in sorted(PUBLISHED) if name.split("-")[0] not in ANY_STEPS])
def test_the_preset_is_the_number_of_passes_that_the_order_has(name: str) -> None:
    """Orders of any cells take any number; the others fix it."""
    system = build(name)
    order = system.order(system.grid, system.preset.steps, None)  # type: ignore[arg-type]
    assert len(order.sizes) == system.preset.steps


@pytest.mark.parametrize(
    "call",
    [
        lambda: lpd.lpd("xxxl"),
        lambda: par.par("huge"),
        lambda: mar.mar("xl"),
        lambda: xar.xar("xl"),
        lambda: var.var("d17"),
        lambda: var.var("d16", 300),
        lambda: llamagen.llamagen("xll"),
        lambda: randar.randar("b"),
        lambda: arpg.arpg("b"),
        lambda: nar.nar("3b"),
        lambda: nar.text("3b"),
    ],
)
def test_an_unknown_size_names_the_nearest(call: object) -> None:
    with torch.device("meta"), pytest.raises(UnknownName, match="unknown"):
        call()  # type: ignore[operator]


def test_the_two_tables_of_systems_agree() -> None:
    own = ("captioned", "emoji", "small", "maskgit")  # no published weights in a layout that is read here
    functions = {function for name, function in SYSTEMS.items() if name not in own}
    assert {entry.func for entry in PUBLISHED.values()} == functions
