"""A headless Chromium that opens a file."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

PROBE = """<script>
addEventListener("load", () => {
  const seen = {
    pictures: [...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight]),
    fetched: performance.getEntriesByType("resource").map(e => e.name.slice(0, 60)),
    overflow: document.documentElement.scrollWidth - innerWidth,
    scrolled: Math.max(0, ...[...document.querySelectorAll(".scroll")].map(
      card => card.scrollWidth - card.clientWidth)),
    text: document.body.innerText,
  };
  document.documentElement.dataset.seen = JSON.stringify(seen);
});
</script>"""


def opened(file: Path, folder: Path, width: int = 1200) -> dict[str, Any]:
    """What a browser sees of the page `file`: pictures with their sizes, resources, its text.

    `overflow` and `scrolled` are the pixels by which the page, and the widest of its cards, are
    wider than the window of `width` pixels and their frame.
    """
    if CHROMIUM is None and os.environ.get("CI") != "true":
        pytest.skip("there is no chromium to open a page in (apt-get install chromium)")
    assert CHROMIUM is not None, "CI has to look at the pages, but there is no chromium"
    page = file.read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', page)
    assert policy is not None, "the page allows itself to be reached from outside"
    probed = folder / f"probed-{file.name}"
    probed.write_text(page.replace(policy[0], "").replace("</head>", f"{PROBE}</head>"), "utf-8")
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-sync"),
        *("--disable-component-update", "--disable-dev-shm-usage"),
        *(f"--window-size={width},2000", "--virtual-time-budget=5000"),
        *("--run-all-compositor-stages-before-draw", f"--user-data-dir={folder / 'profile'}"),
        *("--dump-dom", probed.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found is not None, "the page did not load"
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    return seen
