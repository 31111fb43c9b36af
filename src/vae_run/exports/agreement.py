"""Whether a file computes what the model computes. Letters: B batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from vae_run.errors import RunError
from vae_run.exports.graph import BATCHES, Part, examples, expected
from vae_run.exports.source import Source

TOLERANCE = 1e-5
"""Greatest difference from the model, relative to the largest value of the same output."""
JUMPS = 0.2
"""Share of the examples whose codes may differ where the code is a step function of the input."""
DRAWS = 4
"""Batches of each size where the code is a step function: enough examples to judge the share."""

FLOAT32 = 2.0**-23
"""Distance of neighbouring float32 numbers, relative to them, at most."""

Run = Callable[[Sequence[Tensor]], Mapping[str, Tensor]]
"""What a file makes of inputs, by name."""


def check(source: Source, part: Part, run: Run, what: str) -> float:
    """The largest difference of the file from the model, relative to each output's largest value.

    Batches of the sizes `BATCHES` are tried. Where the last bit of an activation decides which
    codeword is the nearest, or which unit is active, a few examples may have another code; their
    other outputs are not compared. These are at most the share `JUMPS` of the examples of all
    batches, and never all those of one size.

    Raises:
        RunError: the difference is above `TOLERANCE`, or a shape is another one.
    """
    posterior = source.model.posterior
    jumps = part != "decoder" and (posterior.discrete or posterior.sparse)
    worst, same, sizes = [], [], []
    for size in BATCHES:
        for draw in range(DRAWS if jumps else 1):
            apart = _apart(source, part, run, what, size, draw)
            worst.append(torch.stack([*apart.values()]).amax(0))
            same.append(apart["mean"] <= TOLERANCE if jumps else torch.ones(size, dtype=torch.bool))
            sizes.append(torch.full((size,), size))
    far, compared, of = torch.cat(worst), torch.cat(same), torch.cat(sizes)
    excused = float((~compared).double().mean()) <= JUMPS
    if excused and all(bool(compared[of == size].any()) for size in BATCHES):
        far = far[compared]
    found = float(far.max())
    if not found <= TOLERANCE:
        raise RunError(
            f"output: {what} differs from the model by {found:.1e} of an output's largest value, "
            f"more than {TOLERANCE:.0e}; nothing was written. Try another format, such as "
            "format=torch_export."
        )
    return found


def _apart(
    source: Source, part: Part, run: Run, what: str, size: int, draw: int
) -> dict[str, Tensor]:
    """The `differences` of each output for one batch of `size` examples.

    Raises:
        RunError: the outputs are others, or one has another shape.
    """
    given = examples(source, part, size, draw)
    right, found = expected(source, part, given), run(given)
    if list(right) != list(found):
        raise RunError(f"output: {what} has the outputs {', '.join(found)}, not {[*right]}.")
    for name, value in right.items():
        if value.shape != found[name].shape:
            raise RunError(
                f"output: {name} of {what} has the shape {list(found[name].shape)} for {size} "
                f"examples, and {list(value.shape)} in the model."
            )
    return {name: differences(value, found[name], source, name) for name, value in right.items()}


def differences(right: Tensor, found: Tensor, source: Source, name: str) -> Tensor:
    """The largest difference of each example, relative to the largest value of all, [B].

    Values in the user's units are compared on the scale of the model: columns of a table may have
    units of very different size. The last bit of float32 in these units does not count.
    """
    a, b, units = right.double(), found.double(), source.units()
    apart, largest = (a - b).abs(), a.abs().max()
    if units is not None and name.startswith(("decoded", "reconstruction")):
        shift = 0 if name.endswith("_scale") else units[0]
        apart = (apart - FLOAT32 * a.abs()).clamp(min=0) / units[1]
        largest = ((a - shift) / units[1]).abs().max()
    each: Tensor = apart.flatten(1).amax(1) / largest.clamp(min=1e-6)
    return torch.where(each.isnan(), torch.inf, each)
