"""Torch's compiler of traced graphs, and the folder that it keeps compiled code in.

Compiled code lies in `folder()`, under a hash of the traced graph, of torch, of its options and of
the processor. Another process that traces the same graph loads it; a file that cannot be read is
compiled anew.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger("vae_run")

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable by which a user, or torch, says where compiled code is kept."""

Compiled = Callable[..., list[Tensor]]


def folder() -> Path:
    """Where compiled code is kept: TORCHINDUCTOR_CACHE_DIR, or the user's cache of vae-run.

    A user without a home folder has one in that for temporary files.
    """
    if given := os.environ.get(FOLDER):
        return Path(given)
    try:
        return Path("~/.cache/vae-run/programs").expanduser()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"vae-run-{os.getuid()}"


def unusable(place: Path) -> str | None:
    """Why compiled code is not kept in the folder `place`, which is made; None if it can be.

    The code in it is run, so nobody else may be able to write it.
    """
    if any(sign.isspace() for sign in str(place)):
        return "has a space in its path, which torch's compiler takes for the end of a word"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
    except OSError as error:
        return f"cannot be made: {error.strerror}"
    if os.name == "posix":
        if found.st_uid != os.geteuid():
            return "belongs to another user, whose code would be run"
        if found.st_mode & 0o022:
            return "can be written by other users, whose code would be run (chmod go-w)"
    return None if os.access(place, os.W_OK | os.X_OK) else "cannot be written"


def inductor(graph: torch.fx.GraphModule, leaves: list[Any]) -> Compiled:
    """`graph`, compiled for arguments like `leaves`; without `folder()` if that is of no use.

    Inductor compiles anew what it cannot unpickle, but not a library that cannot be loaded.
    """
    place = folder()  # before torch sets `FOLDER`
    with environment_restored():
        if (reason := unusable(place)) is None:
            os.environ[FOLDER] = str(place)
            try:
                return _compiled(graph, leaves)
            except Exception as error:  # a compiler can fail in any way
                why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                said = f"{why}. If it comes again, delete {place}: a file there may be damaged."
        else:
            said = f"{place} {reason}; compiled code is not kept."
        from torch._inductor.utils import fresh_cache

        with fresh_cache():
            run = _compiled(graph, leaves)
    log.warning("trainer.compile: %s", said)
    return run


def _compiled(graph: torch.fx.GraphModule, leaves: list[Any]) -> Compiled:
    from torch import _inductor
    from torch._inductor import config

    # Without a context of this kind inductor would not look for the graph on disk.
    how: dict[str, Any] = {"dynamic_shapes": "from_example_inputs"}
    # On a machine with CUDA_HOME and without a GPU, torch would warn of that.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    # The number of threads is written into the code, but older torch does not hash it by itself.
    with config.patch({"cpp.threads": torch.get_num_threads()}):
        run: Compiled = _inductor.standalone_compile(graph, leaves, **how)
    return run


@contextmanager
def environment_restored() -> Iterator[None]:
    """Leave `FOLDER` afterwards as it was: tracing and compiling set it."""
    before = os.environ.get(FOLDER)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(FOLDER, None)
        else:
            os.environ[FOLDER] = before
