"""A headless Chromium, driven by the DevTools protocol over a pipe: no driver, no websocket.

--remote-debugging-pipe: messages are JSON ended by NUL, to file descriptor 3, from 4
(https://chromedevtools.github.io/devtools-protocol/). A Tab keeps what went wrong on it: console
messages, exceptions, and requests to anybody but the page's own host.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

WATCHDOG_SECONDS = 60.0
NAMES = ("chromium-headless-shell", "chromium")
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server", "--disable-extensions",
    "--font-render-hinting=none", "--force-color-profile=srgb",
)  # fmt: skip


class Chromium:
    """One process; `tab` opens a page that knows nothing of the others'."""

    def __init__(self, folder: Path) -> None:
        name = next(filter(None, map(shutil.which, NAMES)), None)
        assert name, f"no {' and no '.join(NAMES)}: make test-packages installs it"
        to_read, self._to = os.pipe()
        self._of, from_write = os.pipe()

        def wire() -> None:  # pragma: no cover # in the child
            a, b = os.dup(to_read), os.dup(from_write)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self._process = subprocess.Popen(
            [name, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=wire,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )
        os.close(to_read)
        os.close(from_write)
        self._number = 0
        self._rest = b""
        self._tabs: dict[str, Tab] = {}

    def send(
        self, method: str, session: str = "", patience: float = WATCHDOG_SECONDS, **words: Any
    ) -> dict[str, Any]:
        """The answer; events that come before it go to their tabs."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": words}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        found: list[dict[str, Any]] = []

        def answered() -> bool:
            return bool(found)

        def take(got: dict[str, Any]) -> None:
            if got.get("id") == number:
                found.append(got)

        self._until(answered, patience, take)
        assert "error" not in found[0], f"{method}: {found[0]['error']}"
        result: dict[str, Any] = found[0]["result"]
        return result

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until events have made it so."""
        self._until(condition, WATCHDOG_SECONDS, lambda got: None)

    def _until(
        self, done: Callable[[], bool], patience: float, take: Callable[[dict[str, Any]], object]
    ) -> None:
        deadline = time.monotonic() + patience
        while not done():
            ready, _, _ = select.select([self._of], [], [], max(deadline - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            data = os.read(self._of, 1 << 20)
            assert data, "the browser has ended"
            *whole, self._rest = (self._rest + data).split(b"\0")
            for each in whole:
                got = json.loads(each)
                take(got)
                tab = self._tabs.get(got.get("sessionId", ""))
                if tab is not None and "method" in got:
                    tab.event(got["method"], got["params"])

    @contextmanager
    def tab(self, **look: Any) -> Iterator["Tab"]:
        """`look`: Tab's."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)
        session = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab = self._tabs[session["sessionId"]] = Tab(self, session["sessionId"], **look)
        try:
            yield tab
        finally:
            del self._tabs[session["sessionId"]]
            self.send("Target.disposeBrowserContext", browserContextId=context)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._of)


class Tab:
    """`troubles` are lines of what should not have been."""

    def __init__(
        self,
        browser: Chromium,
        session: str,
        scripts: bool = True,
    ) -> None:
        self._browser, self._session = browser, session
        self.troubles: list[str] = []
        self._host = ""
        self._loaded = 0
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):
            self._send(f"{domain}.enable")
        self.look()
        if not scripts:
            self.scripts(False)
        # A page of ours asks for no icon; a browser does by itself.
        self._send("Network.setBlockedURLs", urls=["*/favicon.ico"])

    def _send(self, method: str, **words: Any) -> dict[str, Any]:
        return self._browser.send(method, self._session, **words)

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._send("Emulation.setDeviceMetricsOverride", **size)

    def scripts(self, on: bool) -> None:
        """From the next page on."""
        self._send("Emulation.setScriptExecutionDisabled", value=not on)

    def event(self, method: str, words: Mapping[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Runtime.exceptionThrown":
            self.troubles.append(f"exception: {words['exceptionDetails']['text']}")
        elif method == "Runtime.consoleAPICalled":
            self.troubles.append(f"console: {words['type']}")
        elif method == "Log.entryAdded" and "favicon" not in words["entry"].get("url", ""):
            self.troubles.append(f"log: {words['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            url = urlsplit(words["request"]["url"])
            if url.netloc != self._host and url.scheme != "data":
                self.troubles.append(f"asks another host: {words['request']['url']}")

    def open(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._then(lambda: self._send("Page.navigate", url=url))

    def _then(self, act: Callable[[], object]) -> None:
        """Until the page that this leads to is there."""
        before = self._loaded
        act()
        self._browser.wait(lambda: self._loaded > before)

    def run(self, script: str) -> Any:
        """The value of an expression, awaited; by the debugger, so the page's policy does not
        matter."""
        answer = self._send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            words = {"type": kind, "key": key, "windowsVirtualKeyCode": code}
            if text and kind == "keyDown":
                words["text"] = text
            self._send("Input.dispatchKeyEvent", **words)

    def tab(self) -> tuple[int, str]:
        """Goes on by the keyboard: which element of the page has the focus now, and its outline."""
        self.press("Tab", 9)
        script = """(() => { const e = document.activeElement;
            return [[...document.querySelectorAll('*')].indexOf(e),
                    getComputedStyle(e).outlineStyle] })()"""
        number, outline = self.run(script)
        return number, outline

    def enter(self) -> None:
        """Presses Enter, which leads to another page."""
        self._then(lambda: self.press("Enter", 13, "\r"))

    def type(self, text: str) -> None:
        self._send("Input.insertText", text=text)

    def focused(self) -> str:
        """What has the focus, as its tag and what it leads to or is called."""
        script = """(() => { const e = document.activeElement;
            const of = (name) => e.getAttribute(name);
            return e === document.body ? '' : e.tagName.toLowerCase() + ' ' +
            (of('href') || of('name') || of('aria-label') || e.textContent) })()"""
        return str(self.run(script))

    def texts(self) -> list[str]:
        """Names of the accessibility tree: what a screen reader hears."""
        nodes = self._send("Accessibility.getFullAXTree")["nodes"]
        return [node["name"]["value"] for node in nodes if node.get("name", {}).get("value")]

    def screenshot(self, file: Path) -> None:
        """The whole page."""
        size = self._send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000)}
        shot = self._send(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**clip, "scale": 1}
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(shot["data"]))
