"""Public weights: where they are, and how their authors sampled and measured them. Data, each with its source.

Every number is one that the authors printed, in their README or paper; Parvis has reproduced none of them. Guidance is
in this library's counting, where 1 is none: VAR's ``cfg`` of 1.5 is 2.5. Numbers of different evaluators cannot be
compared.
"""

from __future__ import annotations

from dataclasses import dataclass

ADM = "OpenAI's ADM, 50,000 pictures"
FIDELITY = "torch-fidelity, 50,000 pictures"
"""With the statistics of ADM's reference pictures."""


@dataclass(frozen=True)
class Result:
    """One published way of sampling and what it gave.

    Attributes:
        steps: passes. guidance: largest strength. schedule: how it runs. order: what the order was made with.
        temperature, top_k, top_p: 0 and 1 mean all. fid, inception: as printed, at ``pixels`` if they say another size
            than the system's. evaluator: what measured them. per_class: pictures of each class; None: drawn at random.
        source: where the numbers stand.
    """

    steps: int
    guidance: float
    fid: float | None
    source: str
    inception: float | None = None
    schedule: str = "constant"
    order: str = "fixed"
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    evaluator: str = ADM
    per_class: int | None = None
    pixels: int | None = None


@dataclass(frozen=True)
class PublicWeights:
    """Weights of one published system.

    Attributes:
        system: a name of PUBLISHED. size: parameters as the authors print them. repo: on the Hugging Face Hub, or one
            of BY_HAND. file: in it; empty: the only checkpoint there.
        nesting: where the state dict is in the file. tokenizer: (repo, file) of the tokenizer's weights.
        licence: of the authors' code; the weights' own, where they state another, is on the repo's page.
    """

    system: str
    size: str
    repo: str
    file: str
    nesting: str
    tokenizer: tuple[str, str]
    licence: str
    results: tuple[Result, ...] = ()


_LLAMAGEN, _VAR, _T2I = "FoundationVision/LlamaGen", "FoundationVision/var", "peizesun/llamagen_t2i"
_MAR, _XAR = "github.com/LTH14/mar", "OliverRen/xAR"
BY_HAND = {_MAR: "its page links to it, on Dropbox"}
"""Repositories that are not on the Hub -> where their files are."""
VQ16, VQ16_T2I, VAR_VQ = (_LLAMAGEN, "vq_ds16_c2i.pt"), (_T2I, "vq_ds16_t2i.pt"), (_VAR, "vae_ch160v4096z32.pth")
KL16 = (_MAR, "kl16.ckpt")


def _llamagen(size: str, count: str, pixels: int, scale: float, fid: float) -> PublicWeights:
    place = "state dict" if size in ("XXL", "3B") else "model"
    result = Result((pixels // 16) ** 2, scale, fid, "README", order="raster", pixels=256)
    file = f"c2i_{size}_{pixels}.pt"
    return PublicWeights(f"llamagen-{size.lower()}-{pixels}", count, _LLAMAGEN, file, place, VQ16, "MIT", (result,))


def _lpd(size: str, count: str, pixels: int, *rows: tuple[int, float, int, float, float]) -> PublicWeights:
    results = tuple(
        Result(
            steps, scale, fid, "README; settings: evaluation scripts", inception, "linear in the rank",
            f"locality, proximity 1, repulsion {repulsion}", evaluator=FIDELITY, per_class=50,
        )
        for steps, scale, repulsion, fid, inception in rows
    )  # fmt: skip
    return PublicWeights(
        f"lpd-{size}-{pixels}", count, f"mit-han-lab/lpd_{size}_{pixels}", "", "model", VQ16, "MIT", results
    )


def _par(size: str, count: str, tokens: int, steps: int, scale: float, fid: float, inception: float) -> PublicWeights:
    result = Result(steps, scale, fid, "arXiv 2412.15119, table", inception, order=f"{tokens} regions", pixels=256)
    name, file = f"par-{size.lower()}-384-{tokens}x", f"PAR-{size}-{tokens}x.pt"
    return PublicWeights(name, count, "Epiphqny/PAR", file, "model", VQ16, "none stated", (result,))


def _var(depth: int, count: str, pixels: int, fid: float) -> PublicWeights:
    result = Result(
        10, 2.5, fid, "README", schedule="linear in the scale", order="scales", top_k=900, top_p=0.96, per_class=50
    )
    return PublicWeights(
        f"var-d{depth}-{pixels}", count, _VAR, f"var_d{depth}.pth", "state dict", VAR_VQ, "MIT", (result,)
    )


def _t2i(stage: int, pixels: int) -> PublicWeights:
    result = Result(
        (pixels // 16) ** 2,
        7.5,
        None,
        "the demo's defaults; no number printed",
        order="raster",
        top_k=1000,
        evaluator="",
    )
    file = f"t2i_XL_stage{stage}_{pixels}.pt"
    return PublicWeights(f"llamagen-t2i-xl-{pixels}", "775M", _T2I, file, "model", VQ16_T2I, "MIT", (result,))


def _arpg(
    size: str, count: str, millions: str, scale: float, fid: float, first: tuple[float, float, float]
) -> PublicWeights:
    """``first``: guidance, FID and IS of their first release, with the other schedule."""
    rule = "linear in what is decoded"
    result = Result(64, scale, fid, "README", schedule=rule, order="random, arccos schedule", per_class=50)
    older = Result(
        64, first[0], first[1], "README, first release", first[2], schedule=rule, order="random, cosine schedule",
        per_class=50,
    )  # fmt: skip
    return PublicWeights(
        f"arpg-{size}-256", count, "hp-l33/ARPG", f"arpg_{millions}.pt", "model", VQ16, "MIT", (result, older)
    )


def _nar_t2i() -> PublicWeights:
    result = Result(63, 7.5, None, "the sampler's defaults; no number printed", order="diagonals", evaluator="")
    return PublicWeights(
        "nar-t2i-xl-512", "816M", "yefly/NAR-XL-t2i-stage2", "", "model", VQ16_T2I, "see its repository", (result,)
    )


def _randar(size: str, count: str, scale: float, fid: float, inception: float) -> PublicWeights:
    result = Result(88, scale, fid, "README", inception, "linear in what is decoded", "random")
    file = f"randar_{count.lower()}_llamagen_360k_bs_1024_lr_0.0004.safetensors"
    return PublicWeights(f"randar-{size}-256", count, "ziqipang/RandAR", file, "state dict", VQ16, "MIT", (result,))


def _mar(size: str, count: str, scale: float, fid: float, inception: float) -> PublicWeights:
    result = Result(
        256, scale, fid, "README", inception, "linear in what is decoded", "random, cosine, 100 diffusion steps",
        evaluator=FIDELITY, per_class=50,
    )  # fmt: skip
    return PublicWeights(f"mar-{size}-256", count, _MAR, "checkpoint-last.pth", "model_ema", KL16, "MIT", (result,))


def _xar(size: str, count: str, scale: float, solver: int, fid: float) -> PublicWeights:
    result = Result(
        4 * solver, scale, fid, "arXiv 2502.20388; settings: README", schedule="linear in the cell",
        order=f"4 cells, {solver} solver steps each", evaluator=FIDELITY, per_class=50,
    )  # fmt: skip
    return PublicWeights(
        f"xar-{size}-256", count, _XAR, f"xAR-{size.upper()}.pth", "not known", KL16, "none stated", (result,)
    )


PUBLIC: tuple[PublicWeights, ...] = (
    _llamagen("B", "111M", 256, 2.0, 5.46),
    _llamagen("B", "111M", 384, 2.0, 6.09),
    _llamagen("L", "343M", 256, 2.0, 3.80),
    _llamagen("L", "343M", 384, 2.0, 3.07),
    _llamagen("XL", "775M", 384, 1.75, 2.62),
    _llamagen("XXL", "1.4B", 384, 1.75, 2.34),
    _llamagen("3B", "3.1B", 384, 1.65, 2.18),
    _t2i(1, 256),
    _t2i(2, 512),
    _lpd("l", "337M", 256, (20, 4.8, 2, 2.40, 284.5), (32, 5.4, 2, 2.29, 282.7)),
    _lpd("xl", "752M", 256, (20, 4.9, 2, 2.10, 326.7), (32, 5.0, 2, 1.92, 319.4)),
    _lpd("xxl", "1.4B", 256, (20, 5.9, 3, 2.00, 337.6)),
    _lpd("l", "337M", 512, (48, 7.3, 4, 2.54, 292.2)),
    _lpd("xl", "752M", 512, (48, 6.0, 4, 2.10, 326.0)),
    _par("XL", "775M", 4, 147, 1.5, 2.61, 259.2),
    _par("XXL", "1.4B", 4, 147, 1.435, 2.35, 263.2),
    _par("3B", "3.1B", 4, 147, 1.345, 2.29, 255.5),
    _par("3B", "3.1B", 16, 51, 1.5, 2.88, 262.5),
    _nar_t2i(),
    _randar("l", "0.3B", 3.4, 2.65, 249),
    _randar("xl", "0.7B", 4.0, 2.27, 275),
    _arpg("l", "320M", "300m", 5.0, 2.38, (4.5, 2.44, 292)),
    _arpg("xl", "719M", "700m", 6.0, 2.02, (6.0, 2.10, 331)),
    _arpg("xxl", "1.3B", "1b", 7.5, 1.91, (7.5, 1.94, 340)),
    _mar("b", "208M", 2.9, 2.31, 281.7),
    _mar("l", "479M", 3.0, 1.78, 296.0),
    _mar("h", "943M", 3.2, 1.55, 303.7),
    _xar("b", "172M", 2.7, 40, 1.72),
    _xar("l", "608M", 2.3, 50, 1.28),
    _xar("h", "1.1B", 2.2, 50, 1.24),
    _var(16, "310M", 256, 3.55),
    _var(20, "600M", 256, 2.95),
    _var(24, "1.0B", 256, 2.33),
    _var(30, "2.0B", 256, 1.97),
    _var(36, "2.3B", 512, 2.63),
)
"""By family and size. Not in it: weights whose files nobody here could name."""


def public(system: str) -> PublicWeights | None:
    """The public weights of a published system, if there are any."""
    return next((entry for entry in PUBLIC if entry.system == system), None)


TOKENIZERS: tuple[tuple[str, str, tuple[str, str], str, str], ...] = (
    ("vq16", "72M", VQ16, "model", "MIT"),
    ("vq16, for text", "72M", VQ16_T2I, "model", "MIT"),
    ("vq8", "70M", (_LLAMAGEN, "vq_ds8_c2i.pt"), "model", "MIT"),
    ("kl16", "66M", KL16, "model", "MIT"),
    ("var's", "109M", VAR_VQ, "state dict", "MIT"),
)
"""Name, size (as printed, or counted here where the authors print none), (repo, file), nesting, licence."""

PLACES = ("system", "size", "repository", "file", "nesting", "tokenizer", "licence")
RESULTS = (
    "system", "passes", "order", "guidance", "schedule", "temperature", "top-k", "top-p", "FID", "IS", "pixels",
    "evaluator", "per class", "source",
)  # fmt: skip


def places_table() -> list[tuple[str | None, ...]]:
    """A row of texts for every file, tokenizers last, under PLACES."""
    models = [
        (entry.system, entry.size, entry.repo, entry.file or "the only one", entry.nesting, entry.tokenizer[1],
         entry.licence) for entry in PUBLIC
    ]  # fmt: skip
    codecs = [(name, size, *place, nesting, None, licence) for name, size, place, nesting, licence in TOKENIZERS]
    return [*models, *codecs]


def results_table() -> list[tuple[str | None, ...]]:
    """A row of texts for every published result, under RESULTS; what the authors do not say is None."""
    return [(entry.system, *_texts(result)) for entry in PUBLIC for result in entry.results]


def _texts(result: Result) -> tuple[str | None, ...]:
    drawn = None if not result.evaluator else "at random" if result.per_class is None else str(result.per_class)
    return (
        str(result.steps),
        result.order,
        f"{result.guidance:g}",
        result.schedule,
        f"{result.temperature:g}",
        str(result.top_k),
        f"{result.top_p:g}",
        None if result.fid is None else f"{result.fid:.2f}",
        None if result.inception is None else f"{result.inception:.1f}",
        None if result.pixels is None else str(result.pixels),
        result.evaluator or None,
        drawn,
        result.source,
    )
