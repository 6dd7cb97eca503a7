"""Visibility rules: which row sees which key, as functions of (kind, group, slot, keep) alone.

Every mask in Parvis, in training and in decoding, is one of these applied to a row plan.
Shapes: asking rows ``q`` [Rq], keys ``k`` [Rk]; result bool [Rq, Rk], True = sees.
"""

from __future__ import annotations

from torch import Tensor

from parvis.model.plan import Kind, Slice


def slot_causal(q: Slice, k: Slice) -> Tensor:
    """Plain causal attention over the feeding order (raster)."""
    return k.slot[None] <= q.slot[:, None]


def group_causal(q: Slice, k: Slice) -> Tensor:
    """Everything inside a group and all groups before (PAR section 3.2; VAR section 3.2)."""
    return k.group[None] <= q.group[:, None]


def diagonal_causal(q: Slice, k: Slice) -> Tensor:
    """NAR (arXiv 2503.10696): as ``group_causal``, but the condition's rows are plainly causal."""
    plain = (q.kind != Kind.COND)[:, None] | (k.slot[None] <= q.slot[:, None])
    return plain & group_causal(q, k)


def peers_and_context(q: Slice, k: Slice) -> Tensor:
    """LPD (arXiv 2507.01957, section 3.1): a query sees the queries of its own group and all known rows of earlier
    groups; a known row sees known rows of its own and earlier groups; nothing sees a query of another group."""
    asks, asked = (q.kind == Kind.QUERY)[:, None], (k.kind == Kind.QUERY)[None]
    same, earlier = q.group[:, None] == k.group[None], k.group[None] < q.group[:, None]
    return (asks & asked & same) | (~asked & earlier) | (~asks & ~asked & same)


def kept_causal(q: Slice, k: Slice) -> Tensor:
    """RandAR (arXiv 2412.01827): plain causal attention, in which a row whose key does not stay
    is seen by its own group alone."""
    ahead = (k.slot[None] <= q.slot[:, None]) & (k.group[None] <= q.group[:, None])
    return ahead & (k.keep[None] | (k.group[None] == q.group[:, None]))


def own_group(q: Slice, k: Slice) -> Tensor:
    """Only the own group (HMAR's Markov rule)."""
    return q.group[:, None] == k.group[None]
