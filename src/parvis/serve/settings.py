"""How a server is set up: where it listens, who may ask, how much it takes."""

from __future__ import annotations

import ipaddress
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from parvis.errors import UsageError

KEY = "PARVIS_API_KEY"
SHORTEST_KEY = 16


@dataclass(frozen=True)
class Limits:
    """What is refused before any work is done for it.

    Attributes:
        body_bytes, json_bytes: of a form with pictures, and of a JSON body. depth: of nested JSON.
        pixels: of a picture that is sent, read from its header. prompt: characters. requests: answered at once,
            whatever they ask.
        header_seconds, body_seconds: within which a client must have sent them. write_seconds: how long a client may
            leave a full buffer unread. seconds: from a request's submission to its pictures.
    """

    body_bytes: int = 8 << 20
    json_bytes: int = 64 << 10
    depth: int = 8
    pixels: int = 4_200_000
    prompt: int = 2000
    requests: int = 512
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 30.0
    seconds: float = 120.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"the limit {name} is a number above 0; got {value}")


@dataclass(frozen=True)
class Settings:
    """A server's settings.

    Attributes:
        host, port: where it listens; port 0 takes any that is free. key: what clients must show, ``None`` for nobody;
            names: further names by which it may be called when there is no key, e.g. that of a proxy.
        grace: seconds that running requests have left when it is told to stop.
        log_prompts: whether the log says what was asked for.

    Raises:
        UsageError: numbers that mean nothing, a key that is easily guessed, or an open server without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    key: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    grace: float = 30.0
    log_prompts: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"a port is 0 to 65535; got {self.port}")
        if not (math.isfinite(self.grace) and self.grace >= 0):
            raise UsageError(f"grace is a number of seconds, 0 or more; got {self.grace}")
        if self.key is not None and (
            len(self.key) < SHORTEST_KEY or not (self.key.isascii() and self.key.isprintable())
        ):
            raise UsageError(
                f"the API key has {len(self.key)} characters; give {SHORTEST_KEY} or more, printable ASCII, such as "
                "those of `openssl rand -hex 32`"
            )
        if self.key is None and not local(self.host):
            raise UsageError(
                f"{self.host} can be reached from other machines, and anybody could draw with this one; set a key "
                "(PARVIS_API_KEY or --api-key-file), or listen on 127.0.0.1"
            )


def local(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_key(file: Path | None) -> str | None:
    """The key in ``file``, else in the environment; ``None`` where there is neither.

    Raises:
        UsageError: the file cannot be read, or holds nothing.
    """
    if file is None:
        return os.environ.get(KEY) or None
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the key file {str(file)!r} cannot be read: {error}") from error
    if not key:
        raise UsageError(f"the key file {str(file)!r} is empty; write the key into it")
    return key
