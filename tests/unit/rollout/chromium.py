# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium that is spoken to through two pipes, in the DevTools protocol: JSON messages, each ended by a zero byte."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "headless_shell")
_COMMANDS_FD, _ANSWERS_FD = 3, 4


class BrowserError(Exception):
    """The browser said no, or nothing."""


def find() -> str | None:
    """The path of a browser on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number = 0
        self._rest = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(time.monotonic() + 60)
            if answer.get("id") != self._number:
                continue
            if "error" in answer:
                raise BrowserError(f"{method}: {answer['error']}")
            result: dict[str, Any] = answer["result"]
            return result

    def wait_for(self, event: str) -> None:
        """Until the event has happened since the last `open`."""
        deadline = time.monotonic() + 60
        while not any(seen["method"] == event for seen in self.events):
            self._read(deadline)

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            readable, _writable, _broken = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._answers, 1 << 20) if readable else b""
            if not data:
                raise BrowserError("the browser does not answer" if not readable else "the browser is gone")
            self._rest += data
        text, _zero, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def look(self, width: int = 1280, height: int = 900, *, dark: bool = False, medium: str = "screen") -> None:
        """What the page is shown on."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=medium, features=[scheme])

    def open(self, file: Path) -> float:
        """Show a file; how many seconds it took until it was laid out and drawn."""
        self.events.clear()
        started = time.monotonic()
        self.call("Page.navigate", url=file.as_uri())
        self.wait_for("Page.loadEventFired")
        self.ask("document.body.getBoundingClientRect().height")
        self.call("Page.captureScreenshot", format="jpeg", quality=1)
        return time.monotonic() - started

    def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """What can be seen, as a PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    @property
    def requests(self) -> list[str]:
        """What the page asked for since `open`, itself included, and not what its policy kept it from asking for."""
        blocked = {
            event["params"]["requestId"]
            for event in self.events
            if event["method"] == "Network.loadingFailed" and event["params"].get("blockedReason") == "csp"
        }
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [item["request"]["url"] for item in sent if item["requestId"] not in blocked]

    @property
    def complaints(self) -> list[str]:
        """What the browser noted since `open`, such as a broken content security policy."""
        return [event["params"]["entry"]["text"] for event in self.events if event["method"] == "Log.entryAdded"]


@contextlib.contextmanager
def browser(program: str) -> Iterator[Page]:
    """A browser of its own, with nothing of anybody's profile; ended afterwards."""
    commands_read, commands = os.pipe()
    answers, answers_write = os.pipe()
    # The two ends get the numbers that the browser expects, in the child alone: a shell moves them.
    moved = f'exec {_COMMANDS_FD}<&{commands_read} {_ANSWERS_FD}>&{answers_write}; exec "$@"'
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = (
            *(
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--no-first-run",
                "--disable-dev-shm-usage",
            ),
            *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
            f"--user-data-dir={profile}",
        )
        process = subprocess.Popen(
            ("bash", "-c", moved, "browser", program, *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(commands_read, answers_write),
            env={**os.environ, "HOME": profile},
        )
        os.close(commands_read)
        os.close(answers_write)
        try:
            yield Page(commands, answers)
        finally:
            os.close(commands)
            os.close(answers)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
