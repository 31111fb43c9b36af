"""Every block of the documentation is right: commands are accepted, Python runs, YAML is read.

Of a `vae-run` command everything up to its task is real: Hydra composes it, and each job of a sweep
is checked as the program checks it. Nothing is trained. Commands of the README are run for real by
tests/test_readme.py.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from pages import PAGES, ROOT, blocks, commands
from parts import options

from vae_run.cli import main as program
from vae_run.sweeps.ledger import Ledger

if TYPE_CHECKING:
    from conftest import Run, Train


ME = Path(__file__)
CHECKED = [page for page in PAGES if page.name != "extending.md"]
"""Of extending.md tests/config/test_extending.py runs every example in a folder of its own."""


def runs_elsewhere(page: Path) -> bool:
    """Whether another test names the page: it runs its Python as it is printed there."""
    tests = (file for file in (ROOT / "tests").rglob("test_*.py") if file != ME)
    return any(page.name in file.read_text(encoding="utf-8") for file in tests)


LINES = list(dict.fromkeys(line for page in CHECKED for line in commands(page)))
PYTHON = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in CHECKED
    if blocks(page, "python") and not runs_elsewhere(page)
    for number, block in enumerate(blocks(page, "python"))
]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
STRANGERS = {"ray", "tensorboard", "docker", "git", "cd", "export", "source"}
STRANGERS |= {"mlflow", "wandb", "trackio"}
"""Programs of others, whose words are theirs."""


class Accepted(Exception):
    """The program has accepted a command, and would begin its work."""


@pytest.fixture(scope="module")
def place(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a finished run, whose data were scaled, and a package of ours."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("outputs", "mypackage"):
        (folder / name).mkdir()
    (folder / "mypackage" / "data.py").write_text("def photos(root): ...\n")
    np.savez(folder / "floats.npz", train=np.random.default_rng(0).uniform(0, 9, (64, 1, 8, 8)))
    scaled = ("dataset=arrays", f"dataset.path={folder / 'floats.npz'}", "dataset.scale=unit")
    scaled += ("likelihood=gaussian",)
    train(folder / "outputs" / "run", "latent_dim=2", "trainer.epochs=1", *scaled)
    return folder


@pytest.fixture
def accepts(place: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`accepts(words)` is what the program says, if it does not accept them."""

    def begin(*arguments: object) -> None:
        raise Accepted

    monkeypatch.setattr(program, "_job", begin)
    monkeypatch.setattr(Ledger, "open", begin)
    monkeypatch.setattr(program, "report_error", begin)
    monkeypatch.syspath_prepend(place)

    def accepted(words: list[str]) -> str:
        new = f"hydra.run.dir=new-{len(list(place.iterdir()))}"
        alone = {"-m", "doctor", "-sc"} & set(words)  # they take no directory of a run
        finished = vae_run(*words, *([] if alone else [new]), cwd=place)
        if re.search(r"which is not installed[:.] pip install", finished.err):
            pytest.skip(finished.err)
        return "" if finished.code == 0 or "Accepted" in finished.err else finished.said

    return accepted


def real(words: list[str]) -> list[str]:
    """A command's words, with a run that exists in the place of DIR, without placeholders."""
    left = re.compile(r"\.\.\.|\w+=GROUP|hydra\.run\.dir=.*|device=.*")
    words = words[: words.index("|")] if "|" in words else words
    words = [word.replace("range(2000)", "range(20)") for word in words]  # jobs differ by the seed
    kept = [word.replace("SHELL", "bash") for word in words if not left.fullmatch(word)]
    return [re.sub(r"^(run|init_from)=.*", r"\1=outputs/run", word) for word in kept]


@pytest.mark.scale  # a tenth of a second each
@pytest.mark.parametrize("line", LINES)
def test_a_command_is_accepted(line: str, accepts: Any) -> None:
    if "$" in line:
        return  # a line of a script, whose variables a shell fills in
    words = shlex.split(line, comments=True)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    name = Path(words[0]).name
    if name == "vae-run":
        assert not accepts(real(words[1:]))
    elif name == "torchrun":
        assert not accepts(real(words[words.index("vae_run") + 1 :]))
    elif name == "pip":
        for extras in re.findall(r"\[([\w,-]+)\]", line):
            assert set(extras.split(",")) <= set(EXTRAS), line
        assert "vae-run[" not in line, "the package is not on an index: pip install -e '.[NAME]'"
    elif name == "make":
        assert {word for word in words[1:] if "=" not in word} <= TARGETS, line
    elif name.startswith("python"):
        files = [word for word in words[1:] if word.endswith(".py")]
        assert files, line
        assert all((ROOT / file).is_file() for file in files), line
    else:
        assert name in STRANGERS, f"unknown: {line}"


@pytest.mark.parametrize(
    "line",
    ["latent_dmi=2", "-m model=vae objective.bata=1,2", "task=score run=outputs/run metric=x"],
)
def test_a_wrong_command_would_be_found(line: str, accepts: Any) -> None:
    assert accepts(line.split())


@pytest.mark.parametrize("block", PYTHON)
def test_python_runs(block: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block runs by itself; the names that a reader has already are given."""
    compile(block, "a page", "exec")
    if block.startswith("# pythae"):
        return  # what a reader typed there
    monkeypatch.chdir(place)
    block = re.sub(r'"outputs/\w+/RUN', '"outputs/run', block)
    pixels = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    given = {"images": pixels, "photos": [(b"", 0)], "np": np, "torch": torch}
    exec(compile(block, "a page", "exec"), given)


def test_yaml_is_read() -> None:
    for page in PAGES:
        for block in blocks(page, "yaml"):
            assert yaml.safe_load(block), page.name


def test_every_option_exists_that_a_page_names() -> None:
    """`GROUP=NAME` in the prose of a page, for the groups of parts, is a file of `conf/`."""
    groups = [folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir()]
    named = re.compile(rf"`(?P<group>{'|'.join(groups)})=(?P<name>\w+)`")
    for page in CHECKED:
        for found in named.finditer(page.read_text(encoding="utf-8")):
            known = options(found["group"])
            assert found["name"] in (*known, "NAME", "none", "null"), f"{page.name}: {found[0]}"
