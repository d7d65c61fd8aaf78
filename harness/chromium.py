"""A real Chromium without a window: what a page looks like, and what its elements measure there."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import websocket

from harness.servers import wait_for

TIMEOUT_S: Final = 60.0


def available() -> bool:
    return shutil.which("chromium") is not None


class Chromium:
    """One tab, driven by the DevTools protocol. Use as a context manager, from one thread."""

    def __init__(self) -> None:
        binary = shutil.which("chromium")
        if binary is None:
            raise RuntimeError("chromium is not installed (Debian package chromium)")
        self._folder = Path(tempfile.mkdtemp(prefix="chromium-"))
        # Without a sandbox of its own: it sees our pages alone, and root can't have one.
        arguments = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--hide-scrollbars", "--remote-debugging-port=0", f"--user-data-dir={self._folder}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._number = 0
        try:
            self._socket = websocket.create_connection(
                self._address(), timeout=TIMEOUT_S, suppress_origin=True, max_size=None
            )
            self._call("Page.enable")
        except BaseException:
            self.close()
            raise

    def _address(self) -> str:
        """Of the first tab."""
        told = self._folder / "DevToolsActivePort"
        wait_for(lambda: told.exists() and "\n" in told.read_text(), TIMEOUT_S, "Chromium's port", 0.1)
        port = told.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=TIMEOUT_S) as answer:
            tabs = json.loads(answer.read())
        return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == self._number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']}")
                result: dict[str, Any] = told["result"]
                return result

    def open(self, url: str, *, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        """Load it for a screen of this size and these colours, and wait until it is there."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        problem = self._call("Page.navigate", url=url).get("errorText")
        if problem:
            raise RuntimeError(f"{url}: {problem}")
        wait_for(lambda: self.value("document.readyState") == "complete", TIMEOUT_S, f"{url} loaded", 0.05)

    def value(self, script: str) -> Any:
        """What an expression is on the page (its own scripts are forbidden; ours are not)."""
        told = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def shot(self, *, whole: bool = False) -> bytes:
        """PNG of the screen, or of the whole page."""
        told = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(told["data"])

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
