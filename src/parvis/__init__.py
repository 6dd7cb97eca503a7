"""Parvis: autoregressive visual generation, made parallel.

    import parvis
    model = parvis.load("emoji")
    model.generate("woman astronaut dark skin", seed=1)[0].save("astronaut.png")

Names are imported when they are first used, so that ``import parvis`` and ``parvis --help`` are quick.
"""

from __future__ import annotations

import os
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parvis.canvas import Canvas as Canvas
    from parvis.decode.job import Job as Job
    from parvis.decode.job import Pass as Pass
    from parvis.errors import DataError as DataError
    from parvis.errors import IncompatibleParts as IncompatibleParts
    from parvis.errors import OutputError as OutputError
    from parvis.errors import ParvisError as ParvisError
    from parvis.errors import TrainingError as TrainingError
    from parvis.errors import UnknownName as UnknownName
    from parvis.errors import UsageError as UsageError
    from parvis.errors import WeightsError as WeightsError
    from parvis.grid import Grid as Grid
    from parvis.noise import Noise as Noise
    from parvis.order import Order as Order
    from parvis.pipeline import Pipeline as Pipeline
    from parvis.pipeline import load as load
    from parvis.predict import Categorical as Categorical
    from parvis.predict import Prediction as Prediction
    from parvis.request import Request as Request
    from parvis.results import Images as Images
    from parvis.results import Step as Step
    from parvis.sampling import Sampling as Sampling
    from parvis.system import Preset as Preset
    from parvis.system import System as System
    from parvis.tokenizer.base import Tokenizer as Tokenizer

_ERRORS = (
    "DataError", "IncompatibleParts", "OutputError", "ParvisError", "TrainingError", "UnknownName", "UsageError",
    "WeightsError",
)  # fmt: skip
_HOME = {
    **dict.fromkeys(_ERRORS, "errors"),
    **dict.fromkeys(("Pipeline", "load"), "pipeline"),
    **dict.fromkeys(("Images", "Step"), "results"),
    **dict.fromkeys(("Job", "Pass"), "decode.job"),
    **dict.fromkeys(("Categorical", "Prediction"), "predict"),
    **dict.fromkeys(("Preset", "System"), "system"),
    "Canvas": "canvas",
    "Grid": "grid",
    "Noise": "noise",
    "Order": "order",
    "Request": "request",
    "Sampling": "sampling",
    "Tokenizer": "tokenizer.base",
}

__all__ = [  # noqa: RUF022 (sorted ignoring case)
    "Canvas",
    "Categorical",
    "DataError",
    "Grid",
    "Images",
    "IncompatibleParts",
    "Job",
    "load",
    "Noise",
    "Order",
    "OutputError",
    "ParvisError",
    "Pass",
    "Pipeline",
    "Prediction",
    "Preset",
    "Request",
    "Sampling",
    "Step",
    "System",
    "Tokenizer",
    "TrainingError",
    "UnknownName",
    "UsageError",
    "WeightsError",
]

# OpenMP's idle threads otherwise spin and make small layers many times slower on a busy machine; read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'parvis' has no attribute {name!r}")
    value = getattr(_import_module(f"parvis.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
