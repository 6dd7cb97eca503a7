"""A Ray of two processors that serves ``parvis.serve.ray``: ARGS (JSON) PORT FOLDER, until standard input ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ray
from ray import serve

import small_ray
from parvis.serve.ray import Args, app

if __name__ == "__main__":
    args, port = Args.model_validate_json(sys.argv[1]), int(sys.argv[2])
    small_ray.start(Path(sys.argv[3]))
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(app(args))
    print(json.dumps({"up": port}), flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()
