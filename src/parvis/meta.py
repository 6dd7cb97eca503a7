"""Building modules for their names and shapes alone: no memory, no random numbers, no waiting.

PyTorch's *meta* device spares the memory. What gives parameters their first values, though, imports PyTorch's compiler
when it is called there, which takes seconds; on a tensor without memory it has nothing to do, so here it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FIRST_VALUES = {Tensor.normal_, Tensor.uniform_, F.normalize}


class _Still(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        target = args[0] if args else (kwargs or {}).get("tensor")
        if _starts(func) and isinstance(target, Tensor) and target.is_meta:
            return target
        return func(*args, **(kwargs or {}))


def _starts(func: Callable[..., Any]) -> bool:
    """Whether ``func`` gives a parameter its first value. Those of nn.init call the others where no mode sees it."""
    return func in _FIRST_VALUES or getattr(func, "__module__", None) == "torch.nn.init"


@contextmanager
def without_memory() -> Iterator[None]:
    """Modules built inside have parameters on the meta device; fill them with ``load_state_dict(..., assign=True)``."""
    with torch.device("meta"), _Still():
        yield
