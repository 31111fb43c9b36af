"""Numbers and paths as they are shown to people."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path


def number(value: float, error: float | None = None) -> str:
    """`value` with five significant digits, or with the digits that `error` leaves meaningful.

    With an error it is "value ± error", to two significant digits of the error. The minus sign is
    the typographic one.
    """
    if not math.isfinite(value):
        return "not finite"
    if error is not None and math.isfinite(error) and error > 1e-12 * abs(value):
        places = max(0, 1 - math.floor(math.log10(error)))
        text = f"{value:,.{places}f} ± {error:,.{places}f}"
    elif value == int(value) and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif 1e-4 <= abs(value) < 1e7:
        text = f"{value:,.{max(0, 4 - math.floor(math.log10(abs(value))))}f}"
    else:
        text = f"{value:.4g}"
    return re.sub(r"^-(?=0(\.0*)?( |$))", "", text).replace("-", "−")


def ranges(places: Sequence[int]) -> str:
    """Whole numbers in rising order as text; a run of consecutive ones becomes "first–last"."""
    spans: list[list[int]] = []
    for place in places:
        if spans and place == spans[-1][-1] + 1:
            spans[-1].append(place)
        else:
            spans.append([place])
    return ", ".join(
        f"{span[0]}–{span[-1]}" if len(span) > 2 else ", ".join(map(str, span)) for span in spans
    )


def short_path(path: Path) -> Path:
    """`path` relative to the working directory if it lies below it, otherwise as it is."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
