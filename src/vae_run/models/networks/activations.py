"""Activation functions by name: those of torch.nn, and the cosine."""

from __future__ import annotations

from difflib import get_close_matches

from torch import Tensor, nn

from vae_run.errors import ConfigError

_NO_ACTIVATIONS = {
    *("MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin"),  # not elementwise
    "GLU",  # halves its input
    "RReLU",  # uses torch's global generator, whose state is not in checkpoints
    "Threshold",  # has no defaults
}
"""Activations of torch.nn that cannot be used between two layers."""


class Cos(nn.Module):
    """cos(x), a periodic activation; the bias of the layer before it is the phase."""

    def forward(self, x: Tensor) -> Tensor:
        return x.cos()


def activation(name: str, key: str = "network.activation") -> type[nn.Module]:
    """The torch.nn activation `name`, the value of `key`, ignoring case and underscores.

    Raises:
        ConfigError: there is none; the message suggests the closest name.
    """
    known: dict[str, type[nn.Module]] = {"cos": Cos}
    for entry in nn.modules.activation.__all__:
        if entry not in _NO_ACTIVATIONS:
            known[entry.lower()] = getattr(nn, entry)
    wanted = name.lower().replace("_", "")
    if wanted not in known:
        near = get_close_matches(wanted, known, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"{key}: torch has no activation {name!r}; did you mean {near!r}? "
            f"Known: {', '.join(sorted(known))}."
        )
    return known[wanted]
