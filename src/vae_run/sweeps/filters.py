"""A filter of a grid: an expression of configuration keys, such as `latent_dim < 32`.

`simpleeval` would refuse a wrong expression only where its evaluation reaches it, and name its node
type; here the whole expression is checked before the first job, and the wrong part is quoted.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vae_run.config.keys import unknown_key
from vae_run.errors import ConfigError

KEY = "hydra.sweeper.filter"

ALLOWED = (
    *(ast.Expression, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.Constant, ast.Name),
    *(ast.Attribute, ast.List, ast.Tuple, ast.boolop, ast.unaryop, ast.cmpop, ast.expr_context),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod),
)
"""The syntax that an expression may use: comparisons and arithmetic, without power and calls."""

CONSTANTS = {"true": True, "false": False, "null": None}
"""Constants as they are written in configuration files."""


class Absent:
    """The value of a key that a job lacks, and others of its sweep have.

    It equals `null`. It is neither greater nor less than any value, and so is what is computed of
    it.
    """

    def __eq__(self, other: object) -> bool:
        return other is None or other is self

    def __hash__(self) -> int:
        return hash(None)

    def _never(self, other: object) -> bool:
        return False

    def _itself(self, *others: object) -> Absent:
        return self

    __lt__ = __le__ = __gt__ = __ge__ = _never
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = _itself
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = _itself
    __neg__ = __pos__ = __abs__ = _itself


ABSENT = Absent()


def _of_all(choose: Callable[..., Any]) -> Callable[..., Any]:
    """`min` or `max`, whose value is absent if one of theirs is, wherever it stands."""

    def chosen(*values: Any) -> Any:
        listed = values[0] if len(values) == 1 and isinstance(values[0], list) else values
        return ABSENT if any(value is ABSENT for value in listed) else choose(*values)

    return chosen


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "min": _of_all(min),
    "max": _of_all(max),
    "abs": abs,
    "sum": sum,
}


class Filter:
    """A checked expression.

    Attributes:
        names: the keys that it reads, in full.
    """

    def __init__(self, text: str) -> None:
        """Read `text`.

        Raises:
            ConfigError: it is no expression, or uses syntax that is not allowed.
        """
        self.text = text
        reader = _Keys()
        try:
            tree = ast.parse(text.strip(), mode="eval")
            for node in ast.walk(tree):
                _refuse_other_syntax(node)
            tree = ast.fix_missing_locations(reader.visit(tree))
        except (SyntaxError, ValueError) as error:
            raise ConfigError(
                f"{KEY}: found {text!r}, which is no expression of keys ({error}). Expected one "
                "like \"latent_dim < 32 and model != 'ae'\"."
            ) from error
        self.names = reader.names
        self._code = compile(tree, KEY, "eval")

    def all_kept(self, jobs: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Whether each of `jobs` stays, by the values of its keys; a key that it lacks is `ABSENT`.

        Raises:
            ConfigError: a key that is read is in no job, or values cannot be compared.
        """
        self.refuse_unknown(list(dict.fromkeys(key for job in jobs for key in job)))
        absent = dict.fromkeys(self.names.values(), ABSENT)
        return [self.keeps({**absent, **job}) for job in jobs]

    def keeps(self, values: Mapping[str, Any]) -> bool:
        """Whether the job whose keys have these `values` stays.

        Raises:
            ConfigError: the job lacks a key that is read, or its values cannot be compared.
        """
        scope: dict[str, Any] = {"__builtins__": {}, **FUNCTIONS, **CONSTANTS}
        try:
            # The reader has let only operators, names and numbers pass.
            kept = eval(self._code, scope, _Values(values, self.names))  # noqa: S307
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ConfigError(f"{KEY}: {self.text!r} cannot be evaluated: {error}.") from error
        if not isinstance(kept, bool):
            raise ConfigError(f"{KEY}: {self.text!r} is {kept!r}, expected true or false.")
        return kept

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """Refuse a key that is in no job, even if its value was never needed."""
        for name in self.names.values():
            if name not in known:
                raise ConfigError(f"{KEY}: {unknown_key(name, known)}")


def _refuse_other_syntax(node: ast.AST) -> None:
    """Refuse syntax that is not in `ALLOWED`, and calls of functions that are not `FUNCTIONS`."""
    allowed = isinstance(node, ALLOWED)
    if isinstance(node, ast.Call):
        allowed = (
            isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords
        )
    if not allowed:
        what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        raise ConfigError(
            f"{KEY}: found {what}, expected keys, numbers, text in quotes and lists with and, or, "
            f"not, in, comparisons, + - * / %, and {', '.join(FUNCTIONS)}."
        )


class _Keys(ast.NodeTransformer):
    """Replaces each key, such as `a.b.c`, by a name; `names` holds the key of each name."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def visit_Attribute(self, node: ast.Attribute) -> ast.Name:
        return self._name(ast.unparse(node))

    def visit_Name(self, node: ast.Name) -> ast.Name:
        known = node.id in FUNCTIONS or node.id in CONSTANTS
        return node if known else self._name(node.id)

    def _name(self, key: str) -> ast.Name:
        if not all(part.isidentifier() for part in key.split(".")):
            raise ValueError(f"{key} is no key")
        name = f"key_{len(self.names)}"
        self.names[name] = key
        return ast.Name(name, ast.Load())


class _Values(Mapping[str, Any]):
    """Looks a value up when the evaluation reaches it."""

    def __init__(self, values: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._values, self._names = values, names

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)  # a function, or a constant
        key = self._names[name]
        if key not in self._values:
            raise ConfigError(f"{KEY}: {unknown_key(key, self._values)}")
        return self._values[key]

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
