"""Take the README's screenshots: of a run's report, and of TensorBoard's page.

Trains the default run in a temporary folder, opens both in headless Chromium, and writes
docs/images/report.png and docs/images/tensorboard.png:

    python docs/screenshots.py

With a word or more, only those pictures are taken, or other overrides are trained with:

    python docs/screenshots.py report trainer.epochs=20
"""

from __future__ import annotations

import base64
import io
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

IMAGES = Path(__file__).parent / "images"
LARGEST = 300_000  # bytes of a picture
SIZES = {"report": (1000, 1240), "tensorboard": (1280, 860)}
WIDEST = 1280  # pixels of a picture
WAIT = 12.0  # seconds until a page is surely drawn
CLOSE_SETTINGS = """
for (const button of document.querySelectorAll("settings-view button, .settings-button, button")) {
  if (button.textContent.trim().endsWith("Settings")) { button.click(); break; }
}
"""
TAGS = "images/(codes%7Csamples%7Creconstructions)%7Cval/(elbo%7Ckl%7Cmse)%7Ctrain/(loss%7Ckl)"


def main() -> None:
    """Train, look, and write the pictures."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("There is no chromium to take screenshots with (apt-get install chromium).")
    wanted = [word for word in sys.argv[1:] if word in SIZES] or list(SIZES)
    overrides = [word for word in sys.argv[1:] if word not in SIZES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "runs" / "vae-digits"
        command = [sys.executable, "-m", "vae_run", f"hydra.run.dir={run}", *overrides]
        subprocess.run(command, check=True)
        if "report" in wanted:
            shoot(browser, (run / "report.html").as_uri(), folder, "report")
        if "tensorboard" in wanted:
            with tensorboard(run.parent) as address:
                page = f"{address}?tagFilter={TAGS}#timeseries"
                shoot(browser, page, folder, "tensorboard")


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """The address of TensorBoard's page on `folder`, once it has read the run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port"]
    command += [str(port), "--host", "127.0.0.1", "--load_fast=false"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            time.sleep(0.5)
            try:
                with urllib.request.urlopen(f"{address}data/runs", timeout=5) as answer:
                    if b"vae-digits" in answer.read():
                        break
            except OSError:
                continue
        else:
            sys.exit("TensorBoard does not show the run.")
        yield address
    finally:
        server.terminate()
        server.wait()


class Page:
    """A page in headless Chromium, spoken to through the pipe of its debugging protocol."""

    def __init__(self, browser: str, profile: Path, size: tuple[int, int]) -> None:
        there, self._to = os.pipe()
        self._from, back = os.pipe()
        arguments = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-sync", "--disable-component-update"),
            *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
            *(f"--window-size={size[0]},{size[1]}", f"--user-data-dir={profile}", "about:blank"),
        ]
        # Chromium reads the protocol from descriptor 3 and writes it to 4.
        words = " ".join(shlex.quote(word) for word in (browser, *arguments))
        self._process = subprocess.Popen(
            ["sh", "-c", f"exec {words} 3<&{there} 4>&{back}"],
            pass_fds=(there, back),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there)
        os.close(back)
        self._count, self._left, self._session = 0, b"", None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = session["sessionId"]
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            **{"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
        )

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and wait for its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._left:
                read = os.read(self._from, 1 << 20)
                if not read:
                    sys.exit("Chromium ended.")
                self._left += read
            text, _, self._left = self._left.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._count:
                result: dict[str, Any] = answer["result"]
                return result

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait()


def shoot(browser: str, address: str, folder: Path, name: str) -> None:
    """Open `address`, wait until it is drawn, and write what it shows to docs/images/NAME.png."""
    page = Page(browser, folder / name, SIZES[name])
    try:
        page.ask("Page.navigate", url=address)
        time.sleep(WAIT)
        if name == "tensorboard":
            page.ask("Runtime.evaluate", expression=CLOSE_SETTINGS)
            time.sleep(WAIT)
        shown = page.ask("Page.captureScreenshot", format="png")["data"]
    finally:
        page.close()
    IMAGES.mkdir(exist_ok=True)
    content = smaller(base64.b64decode(shown))
    (IMAGES / f"{name}.png").write_bytes(content)
    print(f"{IMAGES / name}.png  {len(content) / 1000:.0f} kB")


def smaller(raw: bytes, largest: int = LARGEST) -> bytes:
    """The picture as a PNG of at most `largest` bytes: with fewer colours, then fewer pixels."""
    with Image.open(io.BytesIO(raw)) as opened:
        picture = opened.convert("RGB")
    if picture.width > WIDEST:
        size = (WIDEST, picture.height * WIDEST // picture.width)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    while True:
        buffer = io.BytesIO()
        picture.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= largest:
            return buffer.getvalue()
        size = (picture.width * 9 // 10, picture.height * 9 // 10)
        picture = picture.resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
