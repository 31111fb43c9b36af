"""The error of restorations over the levels of a corruption."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.metrics.robustness import curve
from vae_run.evaluation.quantities import TABLE
from vae_run.plots import Panel
from vae_run.system.nouns import counted

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

SHOWN = 1000
"""Images of the split that the curve is computed on."""


@picture("How good the output is as the corruption grows.")
def robustness(view: View) -> Image | None:
    """How good the output is at every level of the corruption; None where it has no levels.

    What equals the clean image, as the input at level 0, is not drawn: its error is 0.
    """
    few = replace(view, limit=SHOWN)
    found = curve(few)
    if found is None:
        return None
    corruption: Any = view.corruption
    drawn = {
        name: [p if error else math.nan for p, error in zip(values, found.mse[name], strict=True)]
        for name, values in found.psnr.items()
    }
    errors = {name: [error or math.nan for error in found.mse[name]] for name in found.mse}
    panels = [Panel("PSNR, in dB", drawn, TABLE.of("psnr").log)] if drawn else []
    panels.append(Panel(view.said("squared error per pixel"), errors, TABLE.of("mse").log))
    return plots.robustness(
        found.levels,
        panels,
        here=corruption.level,
        level_name=corruption.level_name,
        noun=view.noun[:-1],
        note=f"{type(corruption).__name__}, {counted(few.size, view.noun)}, fixed noise",
    )
