"""Does Parvis equal the authors' code? :func:`verify` builds the system from a case's sizes, converts the weights, runs
them and compares. Nothing but the case's two files is used. One module per system: ``check(case)`` yields comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from parvis.errors import UsageError, WeightsError
from parvis.verify import (
    arpg,
    llamagen,
    lpd,
    lpd_orders,
    mar,
    multiscale,
    nar,
    par,
    randar,
    schedules,
    var,
    vqgan,
    xar,
)
from parvis.verify.case import Case, read_case, read_facts
from parvis.verify.compare import Check

__all__ = ["CHECKS", "Check", "verify"]

CHECKS: dict[str, Callable[[Case], Iterator[Check]]] = {
    "LlamaGen class-conditional": llamagen.check,
    "LlamaGen text-conditional": llamagen.check,
    "LPD order": lpd_orders.check,
    "LPD": lpd.check,
    "MAR": mar.check,
    "PAR": par.check,
    "ARPG": arpg.check,
    "NAR": nar.check,
    "RandAR": randar.check,
    "VAR transformer": var.check,
    "VQ-16 tokenizer": vqgan.check,
    "VAR multi-scale VQVAE": multiscale.check,
    "xAR": xar.check,
}
"""By how the ``system`` of a case's JSON begins."""


def verify(path: str | Path) -> list[Check]:
    """All comparisons of a case: ``CASE.safetensors`` with ``CASE.json`` beside it, or a ``.json`` of schedules alone.

    Raises:
        UsageError: a system that Parvis does not know. WeightsError: a file is missing or damaged, lacks something, or
        holds outputs that nothing would be compared with.
    """
    place = Path(path)
    try:
        if place.suffix == ".json" and schedules.known(facts := read_facts(place)):
            return list(schedules.check(facts))
    except KeyError as error:
        raise WeightsError(f"the case {path} lacks {error}") from error
    case = read_case(place.with_suffix(".safetensors"))
    name = str(case.facts["system"])
    check = next((CHECKS[start] for start in CHECKS if name.startswith(start)), None)
    if check is None:
        raise UsageError(f"no check for {name!r}; known: {', '.join(CHECKS)}")
    with torch.inference_mode():
        try:
            checks = list(check(case))
        except KeyError as error:
            raise WeightsError(f"the case {path} lacks {error}") from error
    if not checks:
        raise WeightsError(f"the case {path} holds no outputs that {name} is compared by, so it says nothing")
    if unread := case.tensors.unread():
        raise WeightsError(
            f"the case {path} holds what nothing here is compared with: {', '.join(unread[:4])}; take it out, or add "
            "the comparison to parvis.verify"
        )
    return checks
