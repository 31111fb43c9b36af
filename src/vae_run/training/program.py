"""Programs: functions of tensors, traced once and compiled by torch's inductor.

The function is traced by running it (`make_fx`), so any Python may be in it, and none of it is left
afterwards: nothing can be compiled anew at a later step. What changes from step to step has to be a
tensor; where Python reads the value of such a tensor, tracing fails, and there is no program.

Compiled code is kept by inductor in `folder()`, under a hash of the traced graph, of torch, of its
options and of the processor. Another process that traces the same graph loads it; a file that
cannot be read is compiled anew. In a process, programs of equal `signature` are shared.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from vae_run.version import __version__

log = logging.getLogger("vae_run")

Program = Callable[[Any], Any]
"""Takes one argument, nested tensors like those that it was traced with; some change in place."""

KEPT = 8
"""Programs of a process that are kept for its next runs."""

_programs: OrderedDict[str, tuple[Program, Any]] = OrderedDict()


def folder() -> Path:
    """Where compiled code is kept: TORCHINDUCTOR_CACHE_DIR, or the user's cache of vae-run."""
    given = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    return Path(given) if given else Path("~/.cache/vae-run/programs").expanduser()


def of(function: Callable[[Any], Any], example: Any) -> Program:
    """The program of `function` for arguments like `example`: this process's own, or a new one.

    Raises:
        Exception: of any kind, where it cannot be traced or compiled.
    """
    key, kept = signature(function, example)
    if key not in _programs:
        _programs[key] = compiled(function, example), kept
    _programs.move_to_end(key)
    while len(_programs) > KEPT:
        _programs.popitem(last=False)
    return _programs[key][0]


def note(key: str) -> None:
    """Remember, on this machine, that a program of the signature `key` has been compiled."""
    with suppress(OSError):
        _note_of(key).parent.mkdir(parents=True, exist_ok=True)
        _note_of(key).touch()


def noted(key: str) -> bool:
    """Whether `note` was called with `key` here, for the same torch: its code is then on disk."""
    return _note_of(key).exists()


def _note_of(key: str) -> Path:
    about = (torch.__version__, torch.backends.cpu.get_cpu_capability(), __version__, key)
    return folder() / "known" / hashlib.sha256(repr(about).encode()).hexdigest()[:32]


def forget() -> None:
    """Let this process have no programs."""
    _programs.clear()


def inductor(graph: torch.fx.GraphModule, leaves: list[Any]) -> Callable[..., list[Tensor]]:
    """`graph`, compiled for arguments like `leaves`; without the files in `folder()` if they fail.

    Inductor compiles anew what it cannot unpickle, but not a library that cannot be loaded.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder()))
    from torch import _inductor
    from torch._inductor.utils import fresh_cache

    # Without a context of this kind inductor would not look for the graph on disk.
    how: dict[str, Any] = {"dynamic_shapes": "from_example_inputs"}
    try:
        run: Callable[..., list[Tensor]] = _inductor.standalone_compile(graph, leaves, **how)
    except Exception as error:  # a compiler can fail in any way
        with fresh_cache():
            run = _inductor.standalone_compile(graph, leaves, **how)
        why = str(error).splitlines()[0][:200]
        log.warning("trainer.compile: %s. Delete %s, whose files are damaged.", why, folder())
    return run


def compiled(function: Callable[[Any], Any], example: Any) -> Program:
    """`function` of nested tensors, with their present shapes, as a program.

    It is traced on copies of `example`: nothing of that is changed.

    Raises:
        Exception: of any kind, where it cannot be traced or compiled.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    leaves, structure = pytree.tree_flatten(example)
    shape_of_result: list[Any] = []

    def flat(*tensors: Tensor) -> list[Tensor]:
        found, spec = pytree.tree_flatten(function(pytree.tree_unflatten(tensors, structure)))
        shape_of_result[:] = [spec]
        return list(found)

    copies = [leaf.detach().clone() for leaf in leaves]
    graph = make_fx(flat)(*copies)
    with torch.no_grad():
        run = inductor(graph, leaves)
    (result,) = shape_of_result

    def program(given: Any) -> Any:
        with torch.no_grad():
            return pytree.tree_unflatten(run(*pytree.tree_leaves(given)), result)

    return program


def signature(function: Any, example: Any) -> tuple[str, list[Any]]:
    """Text that is equal for functions that leave the same program, and the objects that it names.

    A function is told by the attributes of the object that it is, and of those in it: tensors of
    `example` by shape and type, plain values as they are. What has no value, such as another
    tensor or a function made by a function, is named by its identity, and so has to be kept.
    """
    leaves = pytree.tree_leaves(example)
    places = {leaf.data_ptr(): place for place, leaf in enumerate(leaves) if leaf.numel()}
    shapes = [(*leaf.shape, *leaf.stride(), leaf.dtype, leaf.device) for leaf in leaves]
    told = _Told(places)
    threads = torch.get_num_threads()  # kernels are made for a number of them
    return repr((threads, shapes, pytree.tree_structure(example), told.of(function))), told.kept


PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, type(None))


class _Told:
    """What tells objects from others, each told once."""

    def __init__(self, places: Mapping[int, int]) -> None:
        """`places` of the tensors that are arguments, by the address of their data."""
        self.kept: list[Any] = []
        self._places, self._seen = places, dict[int, int]()

    def of(self, part: Any) -> Any:
        if isinstance(part, PLAIN):
            return part
        if id(part) in self._seen:
            return "again", self._seen[id(part)]
        self._seen[id(part)] = len(self._seen)
        if isinstance(part, Tensor):
            place = self._places.get(part.data_ptr())
            return self._identity(part) if place is None else ("input", place, part.requires_grad)
        if isinstance(part, Mapping):
            return [(self.of(key), self.of(value)) for key, value in part.items()]
        if isinstance(part, (list, tuple)):
            return [type(part).__name__, *(self.of(each) for each in part)]
        if isinstance(part, (set, frozenset)):
            return "set", sorted(repr(self.of(each)) for each in part)
        if isinstance(part, partial):
            return "partial", self.of(part.func), self.of(part.args), self.of(part.keywords)
        if isinstance(part, MethodType):
            return "method", part.__func__.__qualname__, self.of(part.__self__)
        if isinstance(part, (type, FunctionType, BuiltinFunctionType)):
            made = "<locals>" in part.__qualname__
            return self._identity(part) if made else f"{part.__module__}.{part.__qualname__}"
        if not hasattr(part, "__dict__"):
            return self._identity(part)
        return self.of(type(part)), self.of(vars(part))

    def _identity(self, part: Any) -> Any:
        self.kept.append(part)
        return type(part).__qualname__, id(part)
