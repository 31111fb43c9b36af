"""Programs: functions of tensors, traced once and compiled by torch's inductor.

The function is traced by running it (`make_fx`), so any Python may be in it, and none of it is left
afterwards: nothing can be compiled anew at a later step. What changes from step to step has to be a
tensor; where Python reads the value of such a tensor, tracing fails, and there is no program.

In a process, programs of equal `signature` are shared. `training.inductor` compiles the trace.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from vae_run.training.inductor import environment_restored, inductor

Program = Callable[[Any], Any]
"""Takes one argument, nested tensors like those that it was traced with; some change in place."""

KEPT = 8
"""Programs of a process that are kept for its next runs."""

_programs: OrderedDict[str, tuple[Program, Any]] = OrderedDict()


def of(function: Callable[[Any], Any], example: Any) -> Program:
    """The program of `function` for arguments like `example`: this process's own, or a new one.

    It is traced on a copy of `function` that shares its tensors, so that attributes of `function`
    are not changed.

    Raises:
        Exception: of any kind, where it cannot be traced or compiled.
    """
    told = _Told.about(function, example)
    key = told.text
    if key not in _programs:
        shared = {id(part): part for part in (*told.kept, *told.inputs)}
        _programs[key] = compiled(copy.deepcopy(function, shared), example), told.kept
    _programs.move_to_end(key)
    while len(_programs) > KEPT:
        _programs.popitem(last=False)
    return _programs[key][0]


def forget() -> None:
    """Let this process have no programs."""
    _programs.clear()


def compiled(function: Callable[[Any], Any], example: Any) -> Program:
    """`function` of nested tensors, with their present shapes, as a program.

    It is called and traced on copies of `example`: nothing of that is changed.

    Raises:
        TypeError: each call changes more of `function` than tensors of its argument. A program
            would not do that.
        Exception: of any kind, where it cannot be traced or compiled.
    """
    with environment_restored():
        from torch.fx.experimental.proxy_tensor import make_fx

    leaves, structure = pytree.tree_flatten(example)
    shape_of_result: list[Any] = []

    def flat(*tensors: Tensor) -> list[Tensor]:
        found, spec = pytree.tree_flatten(function(pytree.tree_unflatten(tensors, structure)))
        shape_of_result[:] = [spec]
        return list(found)

    copies = [leaf.detach().clone() for leaf in leaves]
    flat(*copies)  # what is computed at the first call and kept is no change at later ones
    before = _Told.about(function, example)  # as long as it lives, no identity is used again
    with environment_restored():
        graph = make_fx(flat)(*copies)
    if _Told.about(function, example).text != before.text:
        raise TypeError("a step changes attributes of the model or objective that are no buffers")
    with torch.no_grad():
        run = inductor(graph, leaves)
    (result,) = shape_of_result

    def program(given: Any) -> Any:
        with torch.no_grad():
            return pytree.tree_unflatten(run(*pytree.tree_leaves(given)), result)

    return program


def signature(function: Any, example: Any) -> str:
    """Text that is equal for functions that leave the same program, while the first one lives.

    A function is told by the attributes of the object that it is, and of those in it: tensors of
    `example` by shape and type, plain values as they are. What has no value, such as another
    tensor, a class or a function, is told by its identity.
    """
    return _Told.about(function, example).text


PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), type(...)),
    *(torch.dtype, torch.device, torch.Size),
)
"""Types whose values are told by their text; not those derived from them."""


class _Empty:
    """An object of nothing but its `__dict__`."""


class _Told:
    """What tells objects from others, each told once.

    Attributes:
        text: all of it.
        kept: the objects that are told by identity, which `text` is valid as long as they live.
        inputs: tensors that are arguments.
    """

    def __init__(self, places: Mapping[int, int]) -> None:
        """`places` of the tensors that are arguments, by the address of their data."""
        self.text = ""
        self.kept: list[Any] = []
        self.inputs: list[Tensor] = []
        self._places, self._seen = places, dict[int, int]()

    @classmethod
    def about(cls, function: Any, example: Any) -> _Told:
        """What tells `function` at arguments like `example`."""
        leaves = pytree.tree_leaves(example)
        places = {leaf.data_ptr(): place for place, leaf in enumerate(leaves) if leaf.numel()}
        shapes = [(*leaf.shape, *leaf.stride(), leaf.dtype, leaf.device) for leaf in leaves]
        told = cls(places)
        told.inputs += leaves
        threads = torch.get_num_threads()  # kernels are made for a number of them
        structure = pytree.tree_structure(example)
        told.text = repr((threads, shapes, structure, told.of(function)))
        return told

    def of(self, part: Any) -> Any:
        if type(part) in PLAIN:
            return part
        if id(part) in self._seen:
            return "again", self._seen[id(part)]
        self._seen[id(part)] = len(self._seen)
        if isinstance(part, Tensor):
            return self._tensor(part)
        if type(part) in (dict, OrderedDict):
            return "dict", [(self.of(key), self.of(value)) for key, value in part.items()]
        if type(part) in (list, tuple):
            return type(part).__name__, [self.of(each) for each in part]
        if type(part) in (set, frozenset):
            return "set", sorted(repr(self.of(each)) for each in part)
        if type(part) is partial:
            return "partial", self.of(part.func), self.of(part.args), self.of(part.keywords)
        if type(part) is MethodType:
            return "method", self.of(part.__func__), self.of(part.__self__)
        if isinstance(part, type) or not _is_its_dict(part):
            return self._identity(part)
        return self.of(type(part)), self.of(vars(part))

    def _tensor(self, part: Tensor) -> Any:
        place = self._places.get(part.data_ptr()) if part.layout is torch.strided else None
        if place is None:  # by its version, which changes with its values
            version = "" if part.is_inference() else part._version
            return *self._identity(part), version, part.requires_grad
        self.inputs.append(part)
        return "input", place, part.requires_grad

    def _identity(self, part: Any) -> Any:
        self.kept.append(part)
        return type(part).__qualname__, id(part)


def _is_its_dict(part: Any) -> bool:
    """Whether `part` has no other values than those in its `__dict__`: no slots, nothing in C."""
    kind = type(part)
    if kind.__basicsize__ > _Empty.__basicsize__ or kind.__itemsize__:
        return False
    return hasattr(part, "__dict__") and not any(vars(each).get("__slots__") for each in kind.mro())
