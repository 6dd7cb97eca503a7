"""Imports point one way: a module may import its own layer and those below it; imports inside functions count too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
# fmt: off
# From below to above. A name stands for the module and all within it; where two names fit, the longer one counts.
LAYERS = (
    ("errors",),
    (
        "files", "progress", "meta", "precision", "grid", "sampling", "schedule", "noise", "order", "locality",
        "planners", "canvas", "guidance", "packed",
    ),
    ("output", "chart", "data", "weights", "weights.config", "weights.folder", "weights.keys"),
    ("predict", "diffusion", "flow", "tokenizer", "model", "cache"),
    ("data.codes", "data.encode", "data.roundtrip"),
    ("decode",),
    ("system",),
    ("request", "generate", "engine", "train", "evaluate", "edit", "results", "prompting", "asking", "text"),
    ("systems",),
    ("weights.maps", "verify"),
    ("assemble",),
    ("weights.layouts",),
    ("weights.convert", "weights.export"),
    ("weights.hub", "weights.catalog"),
    ("pipeline",),
    ("mass", "serve"),
    ("commands", "cli"),
)
# fmt: on
STRANGERS = {("decode", "model"), ("model", "decode"), ("tokenizer", "model"), ("model", "tokenizer")}
OUTSIDE = {"torch", "numpy", "PIL", "safetensors"}
EXTRA = {
    "serve": {
        "fastapi", "h11", "prometheus_client", "pydantic", "python_multipart", "sse_starlette", "starlette", "uvicorn",
    }
}  # fmt: skip
"""What only the folder that needs it may import."""
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def layer(module: str) -> int | None:
    """The number of the layer of ``parvis.x.y``, ``None`` if the table does not have it."""
    name = module.removeprefix("parvis.")
    fits = [(len(entry), i) for i, names in enumerate(LAYERS) for entry in names if f"{name}.".startswith(f"{entry}.")]
    return max(fits)[1] if fits else None


def imported(source: str) -> Iterator[tuple[str, int]]:
    """Every module that ``source`` imports, with the line; ``from parvis import grid`` is ``parvis.grid``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"line {node.lineno}: write the whole name instead of dots"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in MODULES else node.module), node.lineno


def faults(module: str, source: str) -> list[str]:
    """What is wrong with the imports of one module."""
    found = []
    here = layer(module)
    for target, line in imported(source):
        if not target.startswith("parvis"):
            root = target.partition(".")[0]
            extra = EXTRA.get(module.split(".")[1], set())
            if root not in OUTSIDE | extra and root not in sys.stdlib_module_names:
                found.append(f"{module}:{line} imports {root}, which is not among the dependencies")
            continue
        there = layer(target)
        pair = tuple(name.split(".")[1] if "." in name else name for name in (module, target))
        if there is None:
            found.append(
                f"{module}:{line} imports {target}, which has no layer; import from the module that defines it"
            )
        elif here is not None and there > here:
            found.append(f"{module}:{line} imports {target} from a layer above")
        elif pair in STRANGERS:
            found.append(f"{module}:{line} imports {target}: {pair[0]} must not know {pair[1]}")
    return found


@pytest.mark.parametrize("module", [name for name in MODULES if name != "parvis"])
def test_imports_point_one_way(module: str) -> None:
    assert layer(module) is not None, f"{module} has no layer: give it its place in LAYERS"
    assert faults(module, MODULES[module].read_text(encoding="utf-8")) == []


def test_every_layer_is_in_use() -> None:
    """An entry that names nothing is an entry that was not removed."""
    names = {name for entries in LAYERS for name in entries}
    assert names <= {module.removeprefix("parvis.") for module in MODULES} | {
        ".".join(path.relative_to(SOURCE / "parvis").parts) for path in SOURCE.glob("parvis/*") if path.is_dir()
    }


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("parvis.grid", "from parvis.decode import job"),
        ("parvis.grid", "def f():\n    import parvis.cli"),
        ("parvis.grid", "from parvis import cli"),
        ("parvis.order", "from parvis import Grid"),
        ("parvis.decode.job", "from parvis.model.plan import RowPlan"),
        ("parvis.model.plan", "from parvis.decode.job import Pass"),
        ("parvis.weights.folder", "from parvis.systems import SYSTEMS"),
        ("parvis.model.plan", "import torchvision"),
        ("parvis.pipeline", "import fastapi"),
    ],
)
def test_a_wrong_import_is_seen(module: str, source: str) -> None:
    assert len(faults(module, source)) == 1


def test_right_imports_are_let_through() -> None:
    source = "import os\nimport torch.nn\nfrom parvis import grid\nfrom parvis.errors import UsageError"
    assert faults("parvis.order", source) == []
