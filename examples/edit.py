"""Draw part of a picture anew, with a model that was never trained to: inpaint, outpaint, vary.

python examples/edit.py "woman astronaut dark skin" "woman firefighter dark skin" --out edit.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

import parvis
from parvis.output import save_png, sheet


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("other")
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--out", type=Path, default=Path("edit.png"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    pipeline = parvis.load(args.model)
    picture = pipeline.generate(args.prompt, seed=args.seed)[0]
    width, height = picture.size
    lower = Image.new("L", picture.size, 0)  # white is drawn anew
    lower.paste(255, (0, height // 2, width, height))
    round_about = (width // 4,) * 4

    inpainted = pipeline.edit(picture, args.other, mask=lower, n=3, seed=args.seed)
    outpainted = pipeline.edit(picture, args.prompt, margins=round_about, n=2, seed=args.seed)
    varied = pipeline.edit(picture, args.other, keep=0.3, n=2, seed=args.seed)

    images = [picture, *inpainted, *outpainted, *varied]
    captions = [
        args.prompt, *[f"{args.other}, lower half"] * 3, *["a quarter more on every side"] * 2,
        *[f"{args.other}, 30 % of the tokens kept"] * 2,
    ]  # fmt: skip
    print(save_png(args.out, sheet(images, captions, columns=8)), f"{inpainted.passes} passes for half the tokens")


if __name__ == "__main__":
    main()
