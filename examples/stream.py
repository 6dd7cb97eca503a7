"""Watch a canvas fill up: one frame of an animation per pass.

python examples/stream.py "red apple" "rocket" --model emoji-64 --out canvas.webp
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import parvis
from parvis.output import save_animation, sheet


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--model", default="emoji-64")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--out", type=Path, default=Path("canvas.webp"))
    args = parser.parse_args(argv)

    frames = []
    for step in parvis.load(args.model).stream(args.prompts, steps=args.steps):
        share = step.known.float().mean().item()
        print(f"pass {step.index} of {step.total}: {100 * share:.0f} % known")
        frames.append(sheet(step.images, args.prompts))
    print(save_animation(args.out, frames))


if __name__ == "__main__":
    main()
