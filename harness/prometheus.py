"""A real Prometheus that scrapes services of a test and evaluates alert rules, minutes played as seconds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from harness.servers import free_port, wait_for

MIN_RANGE_S: Final = 12
"""Worker processes share their figures every 5 s: a shorter range would hold one value."""
MAX_FOR_S: Final = 20


def available() -> bool:
    return shutil.which("prometheus") is not None


def hastened(rules: Mapping[str, Any]) -> dict[str, Any]:
    """The same rules, a minute played as a second (an hour as `MAX_FOR_S`)."""
    text = json.dumps(rules)
    text = re.sub(r"(?<=\[)(\d+)[mh](?=\])|(?<=offset )(\d+)[mh]", _ranged, text)
    made: dict[str, Any] = json.loads(text)
    for rule in made["groups"][0]["rules"]:
        if "for" in rule:
            rule["for"] = f"{min(int(rule['for'][:-1]) * (60 if rule['for'][-1] == 'h' else 1), MAX_FOR_S)}s"
    return made


def _ranged(found: re.Match[str]) -> str:
    return f"{max(int(found[1] or found[2]), MIN_RANGE_S)}s"


class Prometheus:
    """Use as a context manager. `targets`: job → `host:port`, or several."""

    def __init__(self, rules: Mapping[str, Any], targets: Mapping[str, str | Sequence[str]], log: Path) -> None:
        binary = shutil.which("prometheus")
        if binary is None:
            raise RuntimeError("prometheus is not installed (Debian package prometheus)")
        self._folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
        (self._folder / "rules.yml").write_text(yaml.safe_dump(hastened(rules)))
        places = {job: [where] if isinstance(where, str) else [*where] for job, where in targets.items()}
        jobs = [{"job_name": job, "static_configs": [{"targets": where}]} for job, where in places.items()]
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config = {"global": every, "rule_files": ["rules.yml"], "scrape_configs": jobs}
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._url = f"http://127.0.0.1:{free_port()}"
        arguments = [
            f"--config.file={self._folder / 'prometheus.yml'}", f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self._url.removeprefix('http://')}", "--log.level=error",
        ]  # fmt: skip
        with log.open("ab") as out:
            self._process = subprocess.Popen([binary, *arguments], stdout=out, stderr=out)
        wait_for(self._answers, 30.0, "Prometheus answering", 0.1)

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"Prometheus ended with code {self._process.returncode}")
        try:
            self.firing()
        except OSError:
            return False
        return True

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """The labels of what fires now, by the alert's name."""
        with urllib.request.urlopen(f"{self._url}/api/v1/alerts", timeout=5.0) as answer:
            alerts = json.loads(answer.read())["data"]["alerts"]
        found: dict[str, list[dict[str, str]]] = {}
        for alert in alerts:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10.0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
