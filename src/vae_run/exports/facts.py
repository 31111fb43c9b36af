"""What a file tells of itself: inputs, outputs, ranges, classes, where the model comes from.

Letters: B batch, D latent dimensions, P entries of the vector of conditions, Q positions of a code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from torch import Tensor

from vae_run.config.keys import DATA_PATHS, split_files
from vae_run.corruptions import NoCorruption
from vae_run.data.columns import Columns
from vae_run.exports.graph import Part, examples, expected
from vae_run.exports.plain_text import one_line
from vae_run.exports.source import Source
from vae_run.models.priors import StandardNormal
from vae_run.system.array_archive import MARK
from vae_run.system.files import json_text
from vae_run.version import __version__


@dataclass(frozen=True)
class Port:
    """An input or an output.

    Attributes:
        name: of the tensor.
        shape: "batch", and the sizes of one example.
        type: its numbers, as numpy calls them.
        meaning: what they are, for people, in one line; names may be a stranger's.
    """

    name: str
    shape: tuple[str | int, ...]
    type: str
    meaning: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "meaning", one_line(self.meaning))


def inputs(source: Source, part: Part) -> list[Port]:
    """The inputs of the `part`, in order."""
    if part == "decoder":
        first = Port("z", ("batch", source.settings.fixed.latent_dim), "float32", code(source))
    else:
        shape: tuple[str | int, ...] = ("batch", *source.event_shape)
        first = Port("x", shape, "float32", f"{source.noun}: {values(source)}; {axes(source)}")
    return [first, *condition(source)]


def condition(source: Source) -> list[Port]:
    """The input that a conditional model is given, if it is one."""
    model = source.model
    if model.conditions is not None:
        columns = model.conditions.columns
        size = len(columns.features)
        meaning = f"conditions, in this order: {', '.join(features(columns))}"
        return [Port("conditions", ("batch", size), "float32", meaning)]
    if model.labels is None:
        return []
    names = source.class_names
    known = [f"{i} ({names[i]})" if i < len(names) else str(i) for i in model.labels]
    meaning = f"the class of each example, one of {', '.join(known)}; others are not refused"
    return [Port("label", ("batch",), "int64", meaning)]


def features(columns: Columns) -> list[str]:
    """What each feature of `columns` holds."""
    found = []
    for column in columns.columns:
        if column.categories is None:
            found.append(f"{column.name} (a number in its own unit; NaN if it is missing)")
        elif column.indicates is not None:
            told = f"1 if {column.indicates} is missing, else 0"
            found += [
                f"{column.features[0]} (0 where the next is 1)",
                f"{column.features[1]} ({told})",
            ]
        else:
            found += [f"{name} (1 or 0)" for name in column.features]
    return found


def outputs(source: Source, part: Part) -> list[Port]:
    """The outputs of the `part`, in order, as the model makes them of one example."""
    mean = f"{decoded_values(source)}; {axes(source)}"
    meanings = {
        "mean": code(source),
        "scale": "standard deviations of q(z|x), whose mean is `mean`",
        "indices": "the codeword at each position; `mean` holds the values of these codewords",
        "decoded": f"mean of p(x|z): {mean}",
        "decoded_scale": "standard deviations of p(x|z), one for each value",
        "reconstruction": f"mean of p(x|z) for z = `mean`: {mean}",
        "reconstruction_scale": "standard deviations of p(x|z), one for each value",
    }
    found = expected(source, part, examples(source, part, 1))
    return [
        Port(
            name,
            ("batch", *value.shape[1:]),
            str(value.dtype).removeprefix("torch."),
            meanings[name],
        )
        for name, value in found.items()
    ]


def code(source: Source) -> str:
    """What a code [B, D] is."""
    posterior, shape = source.model.posterior, source.settings.fixed.code_shape
    size = source.settings.fixed.latent_dim
    text = f"the code, {size} numbers"
    if len(shape) > 1:
        text += f", flat; as maps they are [channels, height, width] = {list(shape)}"
    if posterior.layers:
        text += f", those of {len(posterior.layers)} layers of {list(posterior.layers)} from the "
        text += "data up, each the mean given the mean of the layer before; the decoder reads the "
        text += "first layer alone"
    if posterior.spherical:
        text += ", of length 1"
    if posterior.discrete:
        text += ", codewords of a quantiser"
    return text


def values(source: Source) -> str:
    """The range of the values that go in."""
    if source.table is not None:
        return one_line(f"features, in this order: {', '.join(features(source.table))}")
    low, high = source.extent
    scaling = source.scaling
    if scaling is not None:
        low, high = scaling.extent or (low, high)
        text = f"values in their own units, {low:g} to {high:g} in training; the file scales them"
        return text + ("; float32 rounds them coarsely for their spread" if scaling.exact else "")
    if low >= 0 and high <= 1:
        binary = source.settings.parts["dataset"].get("binarize", "none") != "none"
        text = f"{'pixels' if len(source.event_shape) == 3 else 'values'} in [0, 1]"
        text += ", 0 or 1 in training (dataset.binarize)" if binary else ""
        return text + source.stored_as
    return f"values as in training, {low:g} to {high:g} there"


def decoded_values(source: Source) -> str:
    """The range of the values that come out."""
    if source.table is not None:
        blocks = "" if not source.table.blocks else "; of categories one number for each"
        return f"features in their own units, in the order of the input{blocks}"
    if source.scaling is not None:
        return "values in their own units"
    if source.model.likelihood.unit_interval:
        return "in [0, 1]"
    return "on the scale of the input, not limited to its range"


def axes(source: Source) -> str:
    """The order of the axes."""
    if len(source.event_shape) == 1:
        return "[batch, features]"
    if len(source.event_shape) == 2:
        return "[batch, channels, time]"
    channels = source.event_shape[0]
    text = "[batch, channels, height, width]"
    if channels == 1:
        return f"{text}, one channel, grey"
    return f"{text}, {channels} channels in the order of training" + (
        " (red, green, blue for pictures)" if channels == 3 else ""
    )


def prior(source: Source) -> str:
    """How codes for the decoder are drawn."""
    found = source.model.prior
    if isinstance(found, StandardNormal):
        return "draw z from N(0, I), independent standard normal numbers, for new examples"
    return (
        f"codes for new examples come from {found.description}, which is not in this file; draw "
        "them by vae-run task=sample run=DIR output=FILE.npz, array z"
    )


def facts(source: Source, part: Part | None = None) -> dict[str, Any]:
    """What a file of the `part` tells, plain values by name; None: a file of the weights alone."""
    model, settings = source.model, source.settings
    found: dict[str, Any] = {
        "about": f"{MARK} {__version__}",
        "model": source.family or "custom",
        "run": one_line(source.name),
    }
    if part is not None:
        found["part"] = part
        found["inputs"] = [asdict(port) for port in inputs(source, part)]
        found["outputs"] = [asdict(port) for port in outputs(source, part)]
    found |= {
        "range": values(source),
        "axes": axes(source),
        "event_shape": list(source.event_shape),
        "code": code(source),
        "prior": prior(source),
        "likelihood": settings.classes["likelihood"].__name__,
    }
    for name in ("sigma", "b"):  # one number for all pixels
        value = getattr(model.likelihood, name, None)
        if isinstance(value, Tensor) and value.numel() == 1:
            found[f"likelihood_{name}"] = float(value)
    if not issubclass(settings.classes["corruption"], NoCorruption):
        found["corruption"] = (
            f"trained to undo {settings.classes['corruption'].__name__} "
            f"{json_text(settings.parts['corruption'])}; give the corrupted data"
        )
    if given := condition(source):
        found["condition"] = given[0].meaning
    if source.class_names:
        found["class_names"] = list(source.class_names)
    found["configuration"] = configuration(source)
    found["metrics"] = {split: dict(each) for split, each in (source.metrics or {}).items()}
    return found


def configuration(source: Source) -> dict[str, Any]:
    """The run's configuration without what belongs to the machine: of paths the last component."""
    left_out = ("init_from", "tracker", "trust")
    kept = {key: value for key, value in source.config.items() if key not in left_out}
    dataset = dict(source.config["dataset"])
    paths = (*DATA_PATHS, "attributes", *split_files(dataset))
    kept["dataset"] = {
        key: _last(value) if key in paths and isinstance(value, str) else value
        for key, value in dataset.items()
    }
    shortened: dict[str, Any] = _without_folders(kept)
    return shortened


def _last(path: str) -> str:
    return PurePath(path).name or path


def _without_folders(value: Any) -> Any:
    """`value` with every absolute path in it, at any depth, replaced by its last component."""
    if isinstance(value, Mapping):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    return _last(value) if isinstance(value, str) and value.startswith(("/", "~")) else value
