"""Canary secrets, and the search for them in everything that a run has put out.

Every secret of a test run contains one marker that occurs nowhere else, so one search finds any of them, whichever way it was
written: as it is, URL-encoded (the marker needs no escapes), in Base64 at any offset, in hex. Secrets that can't hold the
marker (keys made by a key generator) are registered and searched for one by one.
"""

from __future__ import annotations

import base64
import itertools
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

MARKER: Final = "Zq9CanaryW4x"
"""Letters and digits only; three characters of Base64 context on each side are cut off when it is searched for."""
_CONTEXT: Final = 48


def base64_cores(value: bytes) -> list[bytes]:
    """What every Base64 text of data that contains `value` must contain, for its three possible offsets."""
    cores = []
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + value)
        # The first characters depend on what stands before, the last ones on what follows.
        core = text[-(-offset * 8 // 6) : (offset + len(value)) * 8 // 6]
        cores += [core, core.translate(bytes.maketrans(b"+/", b"-_"))]
    return list(dict.fromkeys(cores))


def forms(secret: str) -> list[bytes]:
    """A secret as it may stand in a text: raw, Base64, hex. Found by its longest part without special characters, so that
    URL-encoded texts, JSON escapes and line breaks don't matter."""
    core = max(re.findall(r"[A-Za-z0-9]+", secret), key=len).encode()
    return list(dict.fromkeys([core, core.hex().encode(), *base64_cores(core)]))


class Canaries:
    """Makes secrets and searches for them. Any thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._special: list[str] = []
        self.made = 0
        """How many secrets were made: a search for none proves nothing."""

    def secret(self, label: str = "") -> str:
        """A new secret value with the marker in it."""
        self.made += 1
        return f"{label}{MARKER}{next(self._numbers):05d}"

    def register(self, secret: str) -> str:
        """Search for this value too; returns it."""
        self.made += 1
        if secret not in self._special:
            self._special.append(secret)
        return secret

    def patterns(self) -> list[bytes]:
        marked = forms(MARKER)
        special = [form for secret in self._special for form in forms(secret)]
        return list(dict.fromkeys([*marked, *special]))

    def leaks(self, name: str, data: bytes) -> Iterator[str]:
        """Where a secret stands in `data`: the source and the text in front of it (never the secret itself)."""
        for pattern in self.patterns():
            at = data.find(pattern)
            if at >= 0:
                before = data[max(0, at - _CONTEXT) : at].decode("utf-8", "replace")
                yield f"{name}, byte {at}, after {before!r}"


class Evidence:
    """Everything that a run has put out, by source. `add` may be called from any thread."""

    def __init__(self, canaries: Canaries, folder: Path) -> None:
        self.canaries, self.folder = canaries, folder
        self._lock = threading.Lock()
        self._parts: list[tuple[str, bytes]] = []
        self._files: dict[str, Path] = {}

    def apart(self) -> Evidence:
        """For a deployment whose error lines are meant: its own folder, or its logs would be appended to others'."""
        return Evidence(Canaries(), Path(tempfile.mkdtemp(prefix="apart-", dir=self.folder)))

    def add(self, source: str, data: bytes) -> None:
        with self._lock:
            self._parts.append((source, data))

    def file(self, source: str) -> Path:
        """A new file whose content is evidence."""
        with self._lock:
            path = self.folder / f"{len(self._files):03d}-{source}"
            self._files[path.name] = path
            return path

    def watch(self, path: Path) -> None:
        """The content of a file, or of every file in a folder, is evidence."""
        with self._lock:
            self._files[str(path)] = path

    def parts(self) -> Iterator[tuple[str, bytes]]:
        with self._lock:
            parts, files = list(self._parts), dict(self._files)
        yield from parts
        for name, path in files.items():
            for one in _files_in(path):
                yield f"{name}:{one.name}", one.read_bytes()

    def sources(self) -> dict[str, int]:
        """Bytes by kind of source (what stands before the first colon)."""
        sizes: dict[str, int] = {}
        for name, data in self.parts():
            kind = name.split(":", 1)[0]
            sizes[kind] = sizes.get(kind, 0) + len(data)
        return sizes

    def leaks(self) -> list[str]:
        return [leak for name, data in self.parts() for leak in self.canaries.leaks(name, data)]


def _files_in(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return sorted(one for one in path.rglob("*") if one.is_file())
    return [path] if path.exists() else []
