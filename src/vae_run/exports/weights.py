"""Weights and configuration in one safetensors file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vae_run.errors import ConfigError
from vae_run.exports.facts import facts
from vae_run.exports.plain_text import texts
from vae_run.exports.source import ABOUT, Source

EXAMPLES = "conditions.examples"
"""The tensor that holds conditions of training rows, which samples are given in turn."""

LARGEST_HEADER = 10_000_000
"""Bytes of the header of a file, with the configuration, at most; a usual one has ten thousand."""


def header_size(content: bytes) -> int:
    """Bytes of the header of a safetensors file that begins with `content`."""
    return int.from_bytes(content[:8], "little")


def weights_file(source: Source, what: str) -> tuple[bytes, float]:
    """The content of a safetensors file, and the largest difference of its tensors: 0.

    Its metadata has the facts, the configuration, and as `state` what a checkpoint says of the
    data, so that `from_pretrained` builds the model again.

    Raises:
        ConfigError: the facts are more than `from_pretrained` accepts.
    """
    from safetensors.torch import load, save

    tensors = weights(source)
    content: bytes = save(tensors, metadata=metadata(source))
    if (size := header_size(content)) > LARGEST_HEADER:
        raise ConfigError(
            f"{what}: would have a header of {size:,} bytes, with the configuration, the names of "
            f"classes and columns, and more than {LARGEST_HEADER:,} are not read again. Shorten "
            "them, or export the model as ONNX."
        )
    back = load(content)
    assert back.keys() == tensors.keys(), what
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items()), what
    return content, 0.0


def weights(source: Source) -> dict[str, Tensor]:
    """The tensors by name: those of `model.state_dict()`, and the examples of conditions."""
    found = {name: t.contiguous().clone() for name, t in source.model.state_dict().items()}
    if source.model.conditions is not None:
        found[EXAMPLES] = source.model.conditions.examples.contiguous().clone()
    return found


def metadata(source: Source) -> dict[str, str]:
    """What the file tells: texts, as the format has no others."""
    state: dict[str, Any] = {key: source.about.get(key) for key in ABOUT}
    if source.model.conditions is not None:
        state["conditions"] = {"columns": source.model.conditions.columns.state()}
    return texts({**facts(source), "state": state})
