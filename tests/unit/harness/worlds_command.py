"""Worlds as people play them: in an interpreter of their own, whose hash seed is fixed."""

from __future__ import annotations

import os
import subprocess
import sys

TIMEOUT_S = 900.0


def worlds(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    command = [sys.executable, "-m", "bench.worlds", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ, timeout=TIMEOUT_S)
