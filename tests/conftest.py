"""Settings of every test: property tests draw the same examples each time, and a busy machine does not fail them."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("parvis", deadline=None, derandomize=True, database=None)
settings.load_profile("parvis")
