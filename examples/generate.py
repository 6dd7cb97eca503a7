"""Draw pictures from prompts and save them, each with its prompt, seed and settings inside.

python examples/generate.py "red apple" "sleeping cat" --model emoji-64 --out out
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import parvis


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--model", default="emoji-64")
    parser.add_argument("--out", type=Path, default=Path("out"))
    args = parser.parse_args(argv)

    args.out.mkdir(parents=True, exist_ok=True)
    pipeline = parvis.load(args.model)
    images = pipeline.generate(args.prompts, n=2, seed=7)
    for path, seed in zip(images.save(args.out), images.seeds, strict=True):
        print(path, "seed", seed)
    print(f"{images.passes} passes, {images.seconds:.2f} s")

    # One seed is one picture, whatever it is drawn with:
    alone = pipeline.generate(args.prompts[0], seed=8)
    assert alone[0].tobytes() == images[1].tobytes()


if __name__ == "__main__":
    main()
