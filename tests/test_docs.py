"""The documentation: what it quotes is in the code, what it links to is there, what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parvis.assemble import published
from parvis.systems import PUBLISHED

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"])
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


@pytest.mark.parametrize("name", ["docs/extending.md", "CONTRIBUTING.md"])
def test_the_worked_example_is_the_one_that_runs(name: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), re.M | re.S)
    code = (ROOT / "examples" / "checkerboard.py").read_text()
    assert blocks
    for block in blocks:
        assert block in code


@page
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


@page
def test_files_that_are_named_exist(path: Path) -> None:
    """Words like `model/plan.py`, `tests/toys.py` or `decode/`, counted from the root, from src or from src/parvis."""
    places = (ROOT, ROOT / "src", ROOT / "src" / "parvis")
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|/))`", path.read_text()):
        assert any((place / name).exists() for place in places), f"{path.name} names {name}"


def test_every_page_is_in_the_list() -> None:
    listed = (ROOT / "docs" / "README.md").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "README.md" or f"({path.name})" in listed, f"docs/README.md does not list {path.name}"


def test_every_published_family_is_in_the_tables_of_systems() -> None:
    tables = (ROOT / "docs" / "systems.md").read_text().split("## Passes")
    families = {published(name).system for name in PUBLISHED}
    assert families <= set(re.findall(r"^\| `([a-z0-9-]+)`", tables[0], re.M))
    assert {name.removesuffix("-t2i") for name in families} <= set(re.findall(r"^\| `([a-z]+)`", tables[1], re.M))


def test_every_module_of_the_package_is_in_the_map() -> None:
    """docs/design.md draws the house; a new file or folder of src/parvis gets its place there."""
    house = re.search(r"## The house\n\n```(.*?)```", (ROOT / "docs" / "design.md").read_text(), re.S)
    assert house is not None
    words = set(re.findall(r"[a-z_]+", house[1]))
    there = {entry.stem for entry in (ROOT / "src" / "parvis").iterdir() if entry.suffix == ".py" or entry.is_dir()} - {
        "__init__",
        "__pycache__",
    }
    assert there - words == set()
