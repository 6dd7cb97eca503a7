"""Published packages: fetched by name with the ordinary clients, read in memory, never executed."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from parvis.errors import DataError

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Package:
    """One published file, pinned by its SHA-256."""

    name: str
    version: str
    file: str
    sha256: str
    command: tuple[str, ...]
    """Run inside an empty folder, where it leaves ``file``."""
    licence: str

    @property
    def by_hand(self) -> str:
        command = " ".join(self.command)
        return f"get it by hand with `{command}` on a machine that can, then give its folder with --from DIR"


EMOJI = Package(
    "emoji-datasource-google",
    "16.0.0",
    "emoji-datasource-google-16.0.0.tgz",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    ("npm", "pack", "--ignore-scripts", "emoji-datasource-google@16.0.0"),
    "names MIT, images Apache-2.0 (Noto Emoji)",
)
FONT = Package(
    "fonts-noto-color-emoji",
    "2.042-0+deb12u1",
    "fonts-noto-color-emoji_2.042-0+deb12u1_all.deb",
    "a5ab0f69c7938423862320d9aca5dd187b3fd879d6a9a57dd52e17c3fa8d2751",
    ("apt-get", "download", "fonts-noto-color-emoji=2.042-0+deb12u1"),
    "images Apache-2.0, font SIL OFL 1.1",
)
FASHION = Package(
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    ("apt-get", "download", "dataset-fashion-mnist=0.0~git20200523.55506a9-1"),
    "MIT",
)


def cache_root(root: Path | str | None = None) -> Path:
    """``root``, else ``$PARVIS_CACHE``, else ``~/.cache/parvis``; data sets lie in its ``data`` folder."""
    base = Path(root) if root is not None else Path(os.environ.get("PARVIS_CACHE") or Path.home() / ".cache" / "parvis")
    return base.expanduser() / "data"


def obtain(package: Package, folder: Path, progress: Progress, given: Path | None = None) -> Path:
    """The package's file in ``folder``, checked: there already, copied from ``given``, or downloaded by its client.

    :raises DataError: the client is missing or fails, or the file is not the recorded one
    """
    target = folder / package.file
    if given is not None:
        if not (given / package.file).is_file():
            raise DataError(f"{given} holds no {package.file}; {package.by_hand}")
        _verify(given / package.file, package)
        return given / package.file
    if target.is_file() and _sha256(target) == package.sha256:
        return target
    client = package.command[0]
    if shutil.which(client) is None:
        raise DataError(f"{package.name} {package.version} needs `{client}`, which is not installed; {package.by_hand}")
    progress(f"downloading {package.name} {package.version} with {client}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            done = subprocess.run(
                package.command, cwd=scratch, capture_output=True, text=True, timeout=1800, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as e:
            raise DataError(f"`{' '.join(package.command)}` did not finish ({e}); {package.by_hand}") from e
        found = [p for p in Path(scratch).iterdir() if p.is_file()]
        if done.returncode != 0 or len(found) != 1:
            said = (done.stderr or done.stdout).strip().splitlines()
            why = next(
                (line for line in said if "rror" in line or line.startswith("E:")), said[-1] if said else "no message"
            )
            raise DataError(f"`{' '.join(package.command)}` failed: {why.strip()[:300]}; {package.by_hand}")
        _verify(found[0], package)
        found[0].replace(target)
    return target


def _verify(path: Path, package: Package) -> None:
    got = _sha256(path)
    if got != package.sha256:
        raise DataError(
            f"{path.name} is not the recorded {package.name} {package.version}: sha256 {got}, "
            f"expected {package.sha256}; {package.by_hand}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def tar_members(
    source: Path | io.BufferedIOBase, wanted: Callable[[str], bool], limit: int
) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the wanted plain files of a tar archive, read in memory; one above ``limit`` bytes is refused.

    :raises DataError: the archive is damaged
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(source.read_bytes()) if isinstance(source, Path) else source) as archive:
            for member in archive:
                if not member.isfile() or not wanted(member.name):
                    continue
                if member.size > limit:
                    raise DataError(f"{member.name} has {member.size} bytes, more than the {limit} expected of it")
                stream = archive.extractfile(member)
                assert stream is not None
                yield member.name, stream.read()
    except (tarfile.TarError, EOFError, lzma.LZMAError, OSError) as e:
        raise DataError(
            f"{source if isinstance(source, Path) else 'the archive'} cannot be read as an archive: {e}"
        ) from e


def deb_member(path: Path, member: str, limit: int) -> bytes:
    """One file of a Debian package (an ``ar`` archive holding ``data.tar.*``), read in memory.

    :raises DataError: the package is damaged or lacks the file
    """
    blob = path.read_bytes()
    if blob[:8] != b"!<arch>\n":
        raise DataError(f"{path} is not a Debian package")
    at = 8
    while at + 60 <= len(blob):
        name, size = blob[at : at + 16].decode("ascii", "replace").strip().rstrip("/"), blob[at + 48 : at + 58].strip()
        if not size.isdigit() or at + 60 + int(size) > len(blob):
            break
        body = blob[at + 60 : at + 60 + int(size)]
        if name.startswith("data.tar"):
            for _, content in tar_members(io.BytesIO(body), lambda n: n == member, limit):
                return content
        at += 60 + int(size) + int(size) % 2
    raise DataError(f"{path} is damaged or lacks {member}")
