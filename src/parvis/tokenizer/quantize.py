"""Vector quantisation with unit-length codes, and the moving-average codebook that trains them.

Shapes: B images, C code channels, H height, W width, M vectors, V codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ROWS = 4096  # vectors compared with the codebook at a time: bounds the memory of large codebooks


class VectorQuantizer(nn.Module):
    """Nearest code on the unit sphere: vectors and codes are l2-normalised, the squared distance decides.

    With ``blank`` code 0 is the zero vector: no vector is nearest to it (it is given by the pixels, see
    :class:`~parvis.tokenizer.vqgan.VQGAN`), and the decoder cannot confuse it with a unit-length code.
    """

    def __init__(self, codes: int, dim: int, blank: bool = False) -> None:
        super().__init__()
        self.blank = blank
        self.embedding = nn.Embedding(codes, dim)
        nn.init.normal_(self.embedding.weight)
        with torch.no_grad():
            self.embedding.weight.copy_(F.normalize(self.embedding.weight, dim=-1))
            if blank:
                self.embedding.weight[0] = 0

    def codebook(self) -> Tensor:
        """Normalised codes ``[V, C]``, in float32 whatever the weights are stored in."""
        return F.normalize(self.embedding.weight.float(), dim=-1)

    def nearest(self, z_MC: Tensor) -> Tensor:
        """Codes ``[M]`` of vectors that need not be normalised. Never the blank code."""
        first = int(self.blank)
        codes_VC = self.codebook()[first:]
        z_MC = F.normalize(z_MC, dim=-1)
        return torch.cat([(rows @ codes_VC.T).argmax(-1) for rows in torch.split(z_MC, _ROWS)]) + first

    def lookup(self, codes: Tensor) -> Tensor:
        """Normalised vectors ``[..., C]`` of ``codes [...]``, in the type of the weights."""
        return F.embedding(codes, self.codebook()).to(self.embedding.weight.dtype)


class CodebookEMA:
    """Codebook as the moving average of the vectors assigned to each code, with revival of dead codes.

    A code whose moving count falls under ``dead`` times the mean is moved onto a vector of the current batch, drawn
    in proportion to the *squared distance* to its code (k-means++): new codes go where reconstruction is worst, not
    where vectors are dense, so a common cell (a white background) does not end up with hundreds of codes.
    """

    def __init__(self, quantizer: VectorQuantizer, decay: float = 0.99, dead: float = 0.05) -> None:
        self.quantizer, self.decay, self.dead = quantizer, decay, dead
        weight = quantizer.embedding.weight
        self.counts_V = torch.zeros(weight.shape[0], device=weight.device)
        self.sums_VC = torch.zeros_like(weight, requires_grad=False)
        self.updates = 0

    @torch.no_grad()
    def update(self, z_MC: Tensor, codes_M: Tensor) -> None:
        """Take in normalised vectors and the codes they were given; blank vectors must be left out."""
        counts_V = torch.zeros_like(self.counts_V).index_add_(0, codes_M, torch.ones_like(codes_M, dtype=z_MC.dtype))
        sums_VC = torch.zeros_like(self.sums_VC).index_add_(0, codes_M, z_MC)
        self.updates += 1
        decay = min(self.decay, self.updates / (9 + self.updates))  # short memory while the encoder moves fast
        self.counts_V.lerp_(counts_V, 1 - decay)
        self.sums_VC.lerp_(sums_VC, 1 - decay)
        means_VC = F.normalize(self.sums_VC, dim=-1)
        used_V = self.counts_V > 0
        weight = self.quantizer.embedding.weight
        weight.copy_(torch.where(used_V[:, None], means_VC, weight))

    @torch.no_grad()
    def revive(self, z_MC: Tensor, codes_M: Tensor, generator: torch.Generator) -> int:
        """Move dead codes onto badly quantised vectors of this batch; returns how many were moved."""
        mean = self.counts_V.sum() / max(1, len(self.counts_V) - int(self.quantizer.blank))
        dead_V = self.counts_V < self.dead * mean
        if self.quantizer.blank:
            dead_V[0] = False
        dead = dead_V.nonzero()[:, 0]
        far_M = (z_MC - self.quantizer.lookup(codes_M)).square().sum(-1).nan_to_num(0.0) + 1e-9
        dead = dead[: min(len(dead), len(far_M) // 4)]
        if len(dead) == 0:
            return 0
        chosen = torch.multinomial(far_M, len(dead), generator=generator)
        self.quantizer.embedding.weight[dead] = z_MC[chosen]
        self.counts_V[dead] = mean
        self.sums_VC[dead] = z_MC[chosen] * mean
        return len(dead)

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors that a resumed run needs."""
        return {"counts": self.counts_V, "sums": self.sums_VC, "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.counts_V.copy_(state["counts"])
        self.sums_VC.copy_(state["sums"])
        self.updates = int(state["updates"])
