"""Keep the left half of a picture and draw the right half again, with other seeds and another prompt.

python examples/edit.py "red apple" "green apple" --model emoji-64 --out edit.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

import parvis
from parvis import Request
from parvis.generate import generate, pixels
from parvis.output import save_png, sheet, to_images


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("other")
    parser.add_argument("--model", default="emoji-64")
    parser.add_argument("--out", type=Path, default=Path("edit.png"))
    args = parser.parse_args(argv)

    pipeline = parvis.load(args.model)
    system, device = pipeline.system, pipeline.device
    assert pipeline.words is not None, "this example is for models that take prompts"
    encode = pipeline.words.encode
    first, second = (torch.tensor([encode(text).ids], device=device) for text in (args.prompt, args.other))

    whole, _ = generate(system, Request(first, seeds=(0,)), device)
    left = system.grid.coords()[:, 3] < system.grid.width // 2  # known tokens may be any set for an LPD system
    request = Request(
        torch.cat([first, first, second, second]),
        seeds=(1, 2, 1, 2),
        values=whole.values.expand(4, -1),
        known=left.to(device).expand(4, -1),
    )
    edited, passes = generate(system, request, device)
    images = to_images(torch.cat([pixels(system, whole), pixels(system, edited)]))
    captions = [args.prompt, *(f"{text}, right half" for text in (args.prompt, args.prompt, args.other, args.other))]
    print(save_png(args.out, sheet(images, captions, columns=5)), f"{passes} passes for half the tokens")


if __name__ == "__main__":
    main()
