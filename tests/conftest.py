"""Settings of every test: property tests draw the same examples each time, and a busy machine does not fail them.
Models in folders, for the tests of the front door."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from parvis.weights import catalog
from toys import save_toy

settings.register_profile("parvis", deadline=None, derandomize=True, database=None)
settings.load_profile("parvis")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models ``toy`` and ``toy-raster``: 16 tokens of 16 codes from apple, green and red."""
    root = tmp_path_factory.mktemp("models")
    for name, kind in (("toy", "lpd"), ("toy-raster", "raster")):
        save_toy(root / name, name=name, kind=kind)
    return root


@pytest.fixture
def bundle(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if ``models`` were what comes with Parvis; an empty working directory."""
    monkeypatch.setattr(catalog, "BUNDLED", models)
    monkeypatch.chdir(tmp_path)
