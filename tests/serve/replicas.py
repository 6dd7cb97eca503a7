"""A Ray of two processors that serves ``parvis.serve.ray``: ARGS (JSON) PORT FOLDER, until standard input ends."""

from __future__ import annotations

import json
import sys

import ray
from ray import serve

from parvis.serve.ray import Args, app

if __name__ == "__main__":
    args, port, folder = Args.model_validate_json(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    ray.init(num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, _temp_dir=folder)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(app(args))
    print(json.dumps({"up": port}), flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()
