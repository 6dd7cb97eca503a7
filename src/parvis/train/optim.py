"""Optimizers with their parameter groups, and what is done to gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from parvis.errors import UsageError
from parvis.train.spread import whole

Name = Literal["adamw", "muon"]


def decays(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay applies to: the weight matrices and kernels, no biases, gains,
    embeddings or positions."""
    tables = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    return {
        name for name, p in model.named_parameters() if p.ndim >= 2 and name.endswith("weight") and name not in tables
    }


def optimizers(
    model: nn.Module,
    name: Name,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.95),
    blocks: str = "blocks.",
) -> list[torch.optim.Optimizer]:
    """AdamW over everything; or Muon over the decayed matrices whose name contains ``blocks`` and AdamW over the rest.

    Muon's step is scaled to AdamW's size, so that one rate serves both.
    """
    decayed = decays(model)
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if not trained:
        raise UsageError("the model has no parameters to train: all are frozen")
    if name not in ("adamw", "muon"):
        raise UsageError(f"optimizer {name!r} is unknown; there are 'adamw' and 'muon'")
    matrices = [(n, p) for n, p in trained if name == "muon" and n in decayed and p.ndim == 2 and blocks in n]
    taken = {n for n, _ in matrices}
    rest = [(n, p) for n, p in trained if n not in taken]
    out: list[torch.optim.Optimizer] = []
    if name == "muon":
        if not hasattr(torch.optim, "Muon"):
            raise UsageError(f"optimizer 'muon' needs PyTorch 2.9 or newer; this is {torch.__version__}")
        if not matrices:
            raise UsageError(f"optimizer 'muon' found no matrix named {blocks!r}; use 'adamw' for this model")
        out.append(
            torch.optim.Muon([p for _, p in matrices], lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    groups = [
        {"params": [p for n, p in rest if n in decayed], "weight_decay": weight_decay},
        {"params": [p for n, p in rest if n not in decayed], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if groups:
        out.append(torch.optim.AdamW(groups, lr=lr, betas=betas))
    return out


def set_rate(opts: Sequence[torch.optim.Optimizer], lr: float, weight_decay: float | None = None) -> None:
    """The learning rate of every group, and the weight decay of those that have one."""
    for opt in opts:
        for group in opt.param_groups:
            group["lr"] = lr
            if weight_decay is not None and group["weight_decay"]:
                group["weight_decay"] = weight_decay


def clip(model: nn.Module, limit: float) -> Tensor:
    """Scales the gradients down to the norm ``limit`` (0: leaves them) and returns their norm before, without reading
    it back. Of a divided model it is the norm of the whole."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    norm = whole(torch.nn.utils.get_total_norm(grads))
    if limit > 0:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm)
    return norm
