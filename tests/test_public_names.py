"""The public surface: what ``import parvis`` offers is listed, sorted and there."""

from __future__ import annotations

import subprocess
import sys
import types

import parvis


def test_all_is_sorted_without_doubles() -> None:
    assert list(parvis.__all__) == sorted(set(parvis.__all__), key=str.lower)


def test_everything_that_is_listed_is_there() -> None:
    for name in parvis.__all__:
        assert getattr(parvis, name) is not None
        assert name in dir(parvis)


def test_everything_public_is_listed() -> None:
    public = {
        name
        for name, value in vars(parvis).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public - {"annotations", "TYPE_CHECKING"} <= set(parvis.__all__)


def test_public_names_explain_themselves() -> None:
    silent = [name for name in parvis.__all__ if callable(getattr(parvis, name)) and not getattr(parvis, name).__doc__]
    assert silent == []


def test_importing_the_package_is_light() -> None:
    code = "import sys, parvis; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(parvis, "no_such_name")
