"""Draw OUT with Ray's actors, the first of which dies (``os._exit(9)``) after two blocks, having written MARK."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from parvis.mass.actors import Drawer, with_ray
from parvis.mass.plan import read_plan
from parvis.mass.work import missing

OUT, MARK = Path(sys.argv[1]), Path(sys.argv[2])


def mortal(mark: str) -> type:
    """A drawer that knows the mark by value: ``sys.argv`` is another one in Ray's workers."""

    class Mortal(Drawer):
        blocks = 0

        def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
            self.blocks += 1
            if self.blocks == 3 and not Path(mark).exists():
                Path(mark).write_text(f"killed {os.getpid()} before {rows['low'].tolist()}")
                os._exit(9)
            return super().__call__(rows)

    return Mortal


if __name__ == "__main__":
    with_ray(OUT, 2, "cpu", 8, drawer=mortal(str(MARK)))
    assert not missing(OUT, read_plan(OUT)), "pictures are missing"
