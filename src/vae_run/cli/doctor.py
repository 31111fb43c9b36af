"""`vae-run doctor`: what there is on this machine, and what would go wrong."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from textwrap import wrap

from vae_run.errors import ConfigError
from vae_run.system.control_groups import cpu_quota
from vae_run.system.extras import missing, quoted, requirements
from vae_run.system.hardware import available_memory, cores, granted_memory
from vae_run.version import __version__

WIDTH, MARGIN = 79, 16
GIB = 2**30
SHARED = "/dev/shm"  # noqa: S108 - it is only looked at
LEAST_SPACE = 0.1
"""GiB of free space below which a default run may not be able to write its files."""
LEAST_MEMORY = 1.0
"""GiB of available memory below which a default run may be killed."""
LEAST_SHARED = 0.25
"""GiB of /dev/shm below which processes that share data may fail; Docker grants 0.06."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what it is like, and what would go wrong, if anything.

    Attributes:
        trouble: what goes wrong, and what helps; "" if nothing does.
        fatal: whether a default run would be stopped by it.
    """

    name: str
    text: str
    trouble: str = ""
    fatal: bool = False


def examine(words: Sequence[str]) -> int:
    """Print what there is and what would go wrong; the exit code, 1 if a default run would fail.

    Raises:
        ConfigError: something else was typed after `doctor`.
    """
    if rest := [word for word in words if word != "--json"]:
        raise ConfigError(f"doctor: takes no other words, found {rest[0]}.")
    findings: list[Finding] = []
    for finding in _findings():
        findings.append(finding)
        print(*_lines(finding.name, finding.text), sep="\n")
    troubles = sorted((each for each in findings if each.trouble), key=lambda each: not each.fatal)
    print("\nNothing would go wrong." if not troubles else "\nWhat would go wrong")
    for each in troubles:
        print(*_lines("  stops runs" if each.fatal else "  warning", each.trouble), sep="\n")
    return int(any(each.fatal for each in findings))


def _lines(name: str, text: str) -> list[str]:
    """`name`, and beside it `text` in lines of whole words."""
    found = wrap(text, WIDTH - MARGIN, break_long_words=False, break_on_hyphens=False) or [""]
    heads = [name, *[""] * (len(found) - 1)]
    return [f"{head:<{MARGIN}}{line}" for head, line in zip(heads, found, strict=True)]


def _findings() -> Iterator[Finding]:
    yield from _versions()
    yield from _extras()
    yield from _devices()
    yield _memory()
    yield _folder("outputs", Path("outputs"), needed=True)
    root = os.environ.get("VAE_RUN_DATA")
    data = Path(root or "~/.cache/vae-run/data").expanduser()
    yield _folder("data", data, "VAE_RUN_DATA" if root else "VAE_RUN_DATA names another")
    from vae_run.training.inductor import folder

    yield _folder("programs", folder(), "compiled steps; TORCHINDUCTOR_CACHE_DIR names another")
    about = "decoded images are cached beside the data"
    yield _folder("temporary", Path(tempfile.gettempdir()), about, needed=True)
    yield from _shared_memory()
    yield _fonts()
    yield _compiler()


def _versions() -> Iterator[Finding]:
    yield Finding("vae-run", f"{__version__}, in {Path(__file__).parents[1]}")
    yield Finding("python", f"{platform.python_version()}, {sys.executable}")
    yield Finding("system", platform.platform())
    names = ("torch", "torchvision", "hydra-core", "omegaconf", "pydantic", "numpy", "tensorboard",
             "scikit-learn", "matplotlib")  # fmt: skip
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    trouble = f"{', '.join(missing)} missing: pip install {' '.join(missing)}" if missing else ""
    yield Finding("packages", ", ".join(found), trouble, fatal=bool(missing))


def _extras() -> Iterator[Finding]:
    """The packages of each extra: which are there, and how to get the others."""
    if not (extras := requirements()):
        yield Finding("extras", "unknown: vae-run is not installed, but run from its source")
    for extra, wanted in extras.items():
        if extra in ("dev", "bench"):  # for those who work on vae-run
            continue
        absent = missing(wanted)
        yield Finding(f"  {extra}", f"missing: pip install {quoted(absent)}" if absent else "found")


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # a broken installation raises many kinds
        yield Finding("devices", "unknown", f"torch cannot be imported: {error}", fatal=True)
        return
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    listed = [f"cuda:{i} {name}" for i, name in enumerate(names)]
    listed += ["mps"] if torch.backends.mps.is_available() else []
    built: str | None = torch.version.cuda
    blind = f" (torch is built for CUDA {built}, and sees no GPU)" if built and not names else ""
    yield Finding("devices", ", ".join([*listed, "cpu"]) + blind)
    quota, given = cpu_quota(), os.environ.get("OMP_NUM_THREADS")
    limit = f", by a quota of {quota:g}" if quota < float("inf") else ""
    yield Finding("cores", f"{cores()} granted, of {os.cpu_count()}{limit}")
    threads = torch.get_num_threads()
    trouble = (
        f"threads: {threads} share {cores()} cores, which is slow. Set OMP_NUM_THREADS={cores()}."
    )
    text = f"at most {threads} in a run" + (f" (OMP_NUM_THREADS={given})" if given else "")
    yield Finding("threads", text, trouble if threads > cores() else "")


def _memory() -> Finding:
    available, granted = available_memory() / GIB, granted_memory() / GIB
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    limit = f", of a machine with {machine:.1f} (a control group, or Slurm)"
    text = f"{available:.1f} GiB available of {granted:.1f}" + (limit if granted < machine else "")
    trouble = f"memory: {available:.1f} GiB are available; a run needs about {LEAST_MEMORY:.0f}."
    return Finding("memory", text, trouble if available < LEAST_MEMORY else "")


def _folder(name: str, path: Path, about: str = "", *, needed: bool = False) -> Finding:
    """A folder, or the one that it would be made in: whether it can be written, and its space.

    A folder of data that is not `needed` for a default run may well be for reading only.
    """
    path = path.absolute()
    there = next(each for each in (path, *path.parents) if each.exists())
    free = shutil.disk_usage(there).free / GIB
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    trouble = ""
    if not there.is_dir():
        trouble = f"{name}: {there} is a file. Move it away."
    elif not writable and (needed or there != path):
        trouble = f"{name}: {there} cannot be written to. Change its permissions, or the folder."
    elif writable and free < LEAST_SPACE:
        trouble = f"{name}: {free:.2f} GiB are free in {there}. Free some space."
    known = f" ({about})" if about else ""
    new = "" if there == path else ", not there yet"
    state = "writable" if writable else "not writable"
    text = f"{path}{known}{new}: {state}, {free:.1f} GiB free"
    return Finding(name, text, trouble, fatal=needed and bool(trouble))


def _shared_memory() -> Iterator[Finding]:
    if Path(SHARED).is_dir():
        free = shutil.disk_usage(SHARED).free / GIB
        trouble = f"{SHARED}: {free:.2f} GiB are free. Start containers with --shm-size=1g."
        yield Finding(SHARED, f"{free:.1f} GiB free", trouble if free < LEAST_SHARED else "")


def _fonts() -> Finding:
    from vae_run.plots.fonts import drawable

    scripts = {"Chinese": "\u6c34", "Japanese": "\u3042", "Korean": "\ud55c", "Arabic": "\u0645",
               "Devanagari": "\u0915"}  # fmt: skip
    lacking = [name for name, letter in scripts.items() if not drawable(letter)]
    text = "DejaVu Sans, and others for all scripts looked for"
    if lacking:
        text = f"none for {', '.join(lacking)}: such names are drawn as codes (install fonts-noto)"
    return Finding("fonts", text)


def _compiler() -> Finding:
    wanted = os.environ.get("CXX") or "g++"
    found = shutil.which(wanted) or shutil.which("clang++")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if found and header.is_file():
        return Finding("compiler", f"{found}, for trainer.compile")
    lacks = "no C++ compiler (g++)" if not found else f"no {header} (python3-dev)"
    return Finding("compiler", f"{lacks}: trainer.compile=true does not work on the CPU")
