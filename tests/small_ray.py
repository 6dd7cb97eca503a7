"""A Ray of two processors and little memory on this machine, which may be busy with other things."""

from __future__ import annotations

import os
from pathlib import Path

import ray

PATIENCE = {
    "RAY_gcs_server_request_timeout_seconds": "120",
    "RAY_health_check_initial_delay_ms": "60000",
    "RAY_health_check_timeout_ms": "60000",
}


def start(folder: Path, attempts: int = 3) -> None:
    """Start it, with its files in ``folder``. It gives its node 30 s to come, which no setting changes: try again."""
    os.environ |= PATIENCE
    for left in reversed(range(attempts)):
        try:
            ray.init(
                num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False,
                _temp_dir=str(folder),
            )  # fmt: skip
            return
        except Exception:
            ray.shutdown()
            if not left:
                raise
