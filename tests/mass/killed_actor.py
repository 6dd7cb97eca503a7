"""Ray's actors on the folders one, three and dead of ROOT, in a cluster of two processors.

``one``: one actor draws. ``three``: three do, the first of which to come to its third block kills its process, having
said so in the file ``mark``. ``dead``: every actor dies at its first block; what is then raised is in ``told``.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray

import small_ray
from parvis.errors import TrainingError
from parvis.mass.actors import Drawer, with_ray

ROOT = Path(sys.argv[1])


def mortal(mark: str) -> type:
    """A drawer that knows the mark by value: ``sys.argv`` is another one in Ray's workers."""

    class Mortal(Drawer):
        blocks = 0

        def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
            self.blocks += 1
            if self.blocks == 3 and not Path(mark).exists():
                Path(mark).write_text(f"killed {os.getpid()} before {rows['low'].tolist()}")
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(rows)

    return Mortal


class Doomed(Drawer):
    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        small_ray.start(Path(folder))
        with_ray(ROOT / "one", 1, "cpu", 8)
        with_ray(ROOT / "three", 3, None, 8, drawer=mortal(str(ROOT / "mark")))
        try:
            with_ray(ROOT / "dead", 2, "cpu", 8, drawer=Doomed)
        except TrainingError as error:
            (ROOT / "told").write_text(str(error))
        ray.shutdown()
