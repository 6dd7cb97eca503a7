"""MAR and xAR decoded slow and obviously right: one image, float64, no cache, no plan, everything anew every time.

Written from the papers' text for the tests alone; it shares nothing with the library but the weights' names, and takes
its random numbers from a function ``normal(cell, draw) -> [C]``.
"""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

Normal = Callable[[int, int], Tensor]


class Weights:
    """The state dict in float64, and the layers that both models share."""

    def __init__(self, model: nn.Module, heads: int) -> None:
        self.state = {name: value.double() for name, value in model.state_dict().items()}
        self.heads = heads

    def __getitem__(self, name: str) -> Tensor:
        return self.state[name]

    def depth(self, stack: str) -> int:
        return 1 + max(
            int(name.split(".")[len(stack.split("."))]) for name in self.state if name.startswith(f"{stack}.")
        )

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def layer_norm(self, x: Tensor, name: str = "") -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        unit = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return unit * self[f"{name}.weight"] + self[f"{name}.bias"] if name else unit

    def rms_norm(self, x: Tensor, name: str = "") -> Tensor:
        unit = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return unit * self[f"{name}.weight"] if name else unit

    def attention(self, name: str, x: Tensor, sees: Tensor, turn: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        q, k, v = self.linear(f"{name}.qkv", x).chunk(3, -1)
        if turn is not None:
            q, k = turn(q), turn(k)
        width, out = q.shape[1] // self.heads, []
        for head in range(self.heads):
            part = slice(head * width, (head + 1) * width)
            scores = (q[:, part] @ k[:, part].T / math.sqrt(width)).masked_fill(~sees, -math.inf)
            out.append(scores.softmax(1) @ v[:, part])
        return self.linear(f"{name}.proj", torch.cat(out, 1))

    def time(self, name: str, told: float) -> Tensor:
        """Waves are float32, as the models were trained with: of times up to 1000 that is felt in the end."""
        angles = told * torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
        waves = torch.cat([angles.cos(), angles.sin()]).double()
        return self.linear(f"{name}.2", silu(self.linear(f"{name}.0", waves)))


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def guided(real: Tensor, null: Tensor, scale: float) -> Tensor:
    return null + scale * (real - null)


def _vit(w: Weights, stack: str, x: Tensor) -> Tensor:
    everything = torch.ones(len(x), len(x), dtype=torch.bool)
    for i in range(w.depth(stack)):
        name = f"{stack}.{i}"
        x = x + w.attention(f"{name}.attention", w.layer_norm(x, f"{name}.norm1"), everything)
        hidden = gelu(w.linear(f"{name}.mlp.fc1", w.layer_norm(x, f"{name}.norm2")))
        x = x + w.linear(f"{name}.mlp.fc2", hidden)
    return x


def mar_hidden(w: Weights, condition: Tensor, buffer: int, known: dict[int, Tensor], cells: int) -> Tensor:
    """What the head is told about every cell, [cells, D], in raster order."""
    table = w["positions.table"]
    rows = [condition + table[i] for i in range(buffer)]
    rows += [w.linear("tokens", value) + table[buffer + cell] for cell, value in known.items()]
    encoded = w.layer_norm(_vit(w, "encoder", w.layer_norm(torch.stack(rows), "norm_in")), "norm_encoder")
    encoded = w.linear("bridge", encoded)
    at = {cell: buffer + i for i, cell in enumerate(known)}
    rows = [*encoded[:buffer], *(encoded[at[cell]] if cell in known else w["query"] for cell in range(cells))]
    decoded = w.layer_norm(_vit(w, "decoder", torch.stack(rows) + w["positions_decoder.table"]), "norm_decoder")
    return decoded[buffer:] + w["positions_head"]


def mar_head(w: Weights, x: Tensor, told: int, z: Tensor) -> tuple[Tensor, Tensor]:
    """(noise, v) of one latent; v in -1..1 says where the log variance lies."""
    y = w.time("head.time", told) + w.linear("head.cond", z)
    h = w.linear("head.input", x)
    for i in range(w.depth("head.blocks")):
        name = f"head.blocks.{i}"
        shift, scale, gate = w.linear(f"{name}.adapt.1", silu(y)).chunk(3)
        inner = silu(w.linear(f"{name}.mlp.0", w.layer_norm(h, f"{name}.norm") * (1 + scale) + shift))
        h = h + gate * w.linear(f"{name}.mlp.2", inner)
    shift, scale = w.linear("head.adapt.1", silu(y)).chunk(2)
    eps, v = w.linear("head.out", w.layer_norm(h) * (1 + scale) + shift).chunk(2)
    return eps, v


@lru_cache
def alpha_bar(timestep: int) -> float:
    """Of the cosine schedule with 1000 steps."""
    product = 1.0
    for i in range(timestep + 1):
        a, b = (math.cos((j / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for j in (i, i + 1))
        product *= max(b / a, 0.001)
    return product


def mar_draw(
    w: Weights, real: Tensor, null: Tensor, scale: float, timesteps: Sequence[int], normal: Callable[[int], Tensor]
) -> Tensor:
    """One latent, by the ancestral chain over ``timesteps`` (ascending)."""
    bars = [alpha_bar(t) for t in timesteps]
    x = normal(0)
    for i in reversed(range(len(timesteps))):
        bar, before = bars[i], bars[i - 1] if i else 1.0
        beta = 1 - bar / before
        (eps, v), (eps_null, _) = (mar_head(w, x, timesteps[i], z) for z in (real, null))
        clean = (x - math.sqrt(1 - bar) * guided(eps, eps_null, scale)) / math.sqrt(bar)
        mean = (beta * math.sqrt(before) * clean + (1 - before) * math.sqrt(1 - beta) * x) / (1 - bar)
        if i == 0:
            return mean
        low, high = math.log(beta * (1 - before) / (1 - bar)), math.log(beta)
        x = mean + torch.exp(0.5 * (low + (v + 1) / 2 * (high - low))) * normal(1 + i)
    raise AssertionError("no timesteps")


def decode_mar(
    model: nn.Module,
    heads: int,
    label: int,
    groups: Sequence[Sequence[int]],
    scale: float,
    cells: int,
    timesteps: Sequence[int],
    normal: Normal,
) -> Tensor:
    """Latents [cells, C]; linear guidance by the cells known after the pass, at most all but one."""
    w, known = Weights(model, heads), {}
    conditions = (w["condition.table.weight"][label], w["condition.absent"][0])
    buffer = len(w["positions.table"]) - cells
    for asked in groups:
        real, null = (mar_hidden(w, c, buffer, known, cells) for c in conditions)
        strength = 1 + (scale - 1) * min(len(known) + len(asked), cells - 1) / cells
        drawn = {}
        for cell in asked:
            numbers = lambda draw, cell=cell: normal(cell, draw)  # noqa: E731
            drawn[cell] = mar_draw(w, real[cell], null[cell], strength, timesteps, numbers)
        known |= drawn
    return torch.stack([known[cell] for cell in range(cells)])


def _turned(x: Tensor, heads: int, coordinates: Sequence[tuple[int, int]]) -> Tensor:
    """Neighbouring channels are complex numbers; rows turn the first half of every head, columns the second."""
    out, width = x.clone(), x.shape[1] // heads
    for row, (y, column) in enumerate(coordinates):
        for head in range(heads):
            for pair in range(width // 2):
                axis, k = divmod(pair, width // 4)
                at = head * width + 2 * pair
                number = complex(float(x[row, at]), float(x[row, at + 1]))
                number *= cmath.exp(1j * (y, column)[axis] * 10000 ** (-k / (width // 4)))
                out[row, at], out[row, at + 1] = number.real, number.imag
    return out


def xar_velocity(
    w: Weights, vector: Tensor, cells: Sequence[Tensor], told: Sequence[int], where: Sequence[Sequence[tuple[int, int]]]
) -> Tensor:
    """Velocities of the last of ``cells``, each a [n, C]; a cell sees itself and those before it."""
    cell_of = torch.tensor([i for i, cell in enumerate(cells) for _ in range(len(cell))])
    sees = cell_of[None] <= cell_of[:, None]
    coordinates = [at for cell in where[: len(cells)] for at in cell]
    turn = lambda q: _turned(q, w.heads, coordinates)  # noqa: E731
    y = torch.stack([vector + w.time("time", told[cell]) for cell in cell_of.tolist()])
    x = w.rms_norm(w.linear("tokens", torch.cat(list(cells))) + w["positions.table"][: len(cell_of)], "norm_in")
    for stack in ("encoder", "decoder"):
        if stack == "decoder":
            x = w.linear("bridge", w.rms_norm(x, "norm_encoder")) + w["positions_decoder.table"][: len(cell_of)]
        for i in range(w.depth(stack)):
            name = f"{stack}.{i}"
            gain1, gain2, scale1, scale2, shift1, shift2 = w.linear(f"{name}.adapt.1", silu(y)).chunk(6, 1)
            inner = w.rms_norm(x) * (1 + scale1) + shift1
            x = x + gain1 * w.attention(f"{name}.attention", inner, sees, turn)
            inner = w.rms_norm(x) * (1 + scale2) + shift2
            gate = gelu(w.linear(f"{name}.mlp.fc1_g", inner))
            x = x + gain2 * w.linear(f"{name}.mlp.fc2", gate * w.linear(f"{name}.mlp.fc1_x", inner))
    return w.linear("out", w.rms_norm(x, "norm_decoder"))[-len(cells[-1]) :]


def decode_xar(
    model: nn.Module,
    heads: int,
    label: int,
    where: Sequence[Sequence[tuple[int, int]]],
    width: int,
    scale: float,
    stops: Sequence[float],
    normal: Normal,
) -> Tensor:
    """Latents [cells, n, C]; ``where``: the (row, column) of every cell's positions; ``stops`` leads from 1 to 0."""
    w = Weights(model, heads)
    vectors = (w["condition.table.weight"][label], w["condition.table.weight"][-1])
    done: list[Tensor] = []
    for index, places in enumerate(where):
        strength = 1 + (scale - 1) * index / (len(where) - 1)
        x = torch.stack([normal(y * width + column, 0) for y, column in places])
        for draw, (now, then) in enumerate(itertools.pairwise(stops), start=1):
            told = [0] * index + [math.floor(1000 * now + 1e-4)]
            real, null = (xar_velocity(w, vector, [*done, x], told, where) for vector in vectors)
            velocity = guided(real, null, strength)
            score = -((1 - now) * velocity + x) / now
            x = x + (then - now) * (velocity - now * score)
            if then > 0:
                noise = torch.stack([normal(y * width + column, draw) for y, column in places])
                x = x + math.sqrt(2 * now * (now - then)) * noise
        done.append(x)
    return torch.stack(done)
