"""Muon for convolutions (Jordan et al. 2024; step size of Liu et al. 2025, arXiv 2502.16982, section 2.2).

``torch.optim.Muon`` takes matrices only; a convolution's weight is the matrix ``[out, in * kh * kw]`` here.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_A, _B, _C = 3.4445, -4.7750, 2.0315  # quintic that drives singular values towards 1


class ConvMuon(torch.optim.Optimizer):
    """Momentum whose singular values are all made about 1, scaled to the size of AdamW's step.

    Args:
        params: weights of two or more dimensions; all but the first are flattened.
        lr: as for AdamW.
        momentum: of the moving average of gradients (Nesterov's form).
        weight_decay: decoupled.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                average = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                matrix = weight.grad.lerp(average, group["momentum"]).flatten(1)
                update = orthogonalize(matrix).mul_(0.2 * max(matrix.shape) ** 0.5)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(update.view(weight.shape), alpha=group["lr"])


def orthogonalize(matrix: Tensor, rounds: int = 5) -> Tensor:
    """The nearest matrix with orthonormal rows (or columns), roughly: singular values end up between 0.7 and 1.2."""
    wide: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (torch.linalg.vector_norm(wide) + 1e-7)
    for _ in range(rounds):
        square = wide @ wide.T
        wide = _A * wide + (_B * square + _C * square @ square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
