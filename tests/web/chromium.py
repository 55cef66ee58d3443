"""A real browser without a window, driven through the DevTools protocol over two pipes."""

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *(
        "--headless=new",
        "--no-sandbox",
        "--remote-debugging-pipe",
        "--no-first-run",
    ),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "about:blank"),
)
SPECIAL_KEYS = {"Enter": "\r", "ArrowDown": "", "ArrowUp": "", "Escape": "", "Tab": ""}


def chromium_path():
    """None where there is no such browser."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """Sends commands, keeps what it is told."""

    def __init__(self, write, read):
        self.events = []
        self._write, self._read, self._rest = write, read, b""
        self._numbers = itertools.count(1)
        self._session = None

    def call(self, method, timeout=60.0, **params):
        """The answer to a command; raises on an error."""
        number = self._send(method, self._session, **params)
        until = time.monotonic() + timeout
        while True:
            found = self._next(until, method)
            if found.get("id") == number:
                assert "error" not in found, f"{method}: {found['error']}"
                return found["result"]
            self.events.append(found)
            if found.get("method") == "Target.attachedToTarget" and found.get("sessionId"):
                worker = found["params"]["sessionId"]
                for wanted in ("Network.enable", "Runtime.runIfWaitingForDebugger"):
                    self._send(wanted, worker)

    def _send(self, method, session, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        os.write(self._write, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        return number

    def _next(self, until, waiting_for):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"the browser did not answer {waiting_for}"
            self._rest += os.read(self._read, 1 << 20)
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, url, width=1280, height=900, dark=False):
        """A fresh page; its workers' requests are seen too."""
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def evaluate(self, expression, timeout=120.0):
        """The value of JavaScript, promises awaited."""
        found = self.call(
            "Runtime.evaluate", timeout, expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression, timeout=120.0):
        """Until the expression is true; its value."""
        until = time.monotonic() + timeout
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < until, (
                f"{expression} did not come true: {self.evaluate('document.body.innerText')}"
            )
            time.sleep(0.05)
        return value

    def type(self, text):
        """As if pasted where the cursor stands."""
        self.call("Input.insertText", text=text)

    def press(self, key, shift=False):
        """One key."""
        text = SPECIAL_KEYS.get(key, key)
        code = {"Enter": 13}.get(key, ord(key[0].upper()) if len(key) == 1 else 0)
        params = {"key": key, "text": text, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown", **{name: each for name, each in params.items() if each != ""}
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def requests(self):
        """The addresses that the page asked for so far."""
        found = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in found]

    def close(self):
        """The whole browser."""
        self._session = None
        self.call("Browser.close", timeout=5.0)

    def screenshot(self, path):
        """What the page looks like, as a PNG file."""
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def chromium(*flags):
    """A browser with a profile of its own, ended at the end."""
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = _start([chromium_path(), f"--user-data-dir={profile}", *flags, *FLAGS], to_browser, from_browser)
        browser = Browser(write, read)
        try:
            yield browser
        finally:
            with contextlib.suppress(Exception):
                browser.close()
            _end(process)
            os.close(write)
            os.close(read)


def _start(command, to_browser, from_browser):
    """The process' number; it finds the two pipes at 3 and 4, where Chromium looks for them."""
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_browser, from_browser)]
    nowhere = os.open(os.devnull, os.O_RDWR)
    places = {1: nowhere, 2: nowhere, 3: high[0], 4: high[1]}
    # Not a fork, which threads of JAX would not survive.
    actions = [(os.POSIX_SPAWN_DUP2, end, place) for place, end in places.items()]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    for end in (to_browser, from_browser, nowhere, *high):
        os.close(end)
    return process


def _end(process, seconds=10.0):
    """Lets it put its profile away first."""
    until = time.monotonic() + seconds
    while os.waitpid(process, os.WNOHANG)[0] == 0:
        if time.monotonic() > until:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
