"""Systems for their shapes alone: the same names and shapes, without memory, random numbers or the compiler."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from parvis.meta import without_memory


def test_modules_have_names_and_shapes_and_nothing_else() -> None:
    before = torch.random.get_rng_state()
    with without_memory():
        made = nn.Sequential(nn.Linear(3, 4), nn.Embedding(5, 6), nn.LayerNorm(2))
    assert all(parameter.is_meta for parameter in made.parameters())
    assert torch.equal(torch.random.get_rng_state(), before)
    real = nn.Sequential(nn.Linear(3, 4), nn.Embedding(5, 6), nn.LayerNorm(2))
    assert {k: v.shape for k, v in made.state_dict().items()} == {k: v.shape for k, v in real.state_dict().items()}


def test_outside_everything_is_as_it_was() -> None:
    with without_memory():
        pass
    weight = nn.Linear(3, 4).weight
    assert not weight.is_meta and float(weight.detach().abs().sum()) > 0


def test_no_published_system_waits_for_the_compiler() -> None:
    code = (
        "import sys\nfrom parvis.meta import without_memory\nfrom parvis.systems import PUBLISHED\n"
        "with without_memory():\n    systems = [make() for name, make in PUBLISHED.items() if '-256' in name][::3]\n"
        "print(len(systems) > 3, 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["True", "False"], done.stderr
