"""Numbers as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence


def number(value: float, error: float | None = None) -> str:
    """Five significant digits, or as many as the error has a meaning for; a true minus sign."""
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
    """Rising whole numbers, those that follow each other as "first–last"."""
    spans: list[list[int]] = []
    for place in places:
        if spans and place == spans[-1][-1] + 1:
            spans[-1].append(place)
        else:
            spans.append([place])
    return ", ".join(
        f"{span[0]}–{span[-1]}" if len(span) > 2 else ", ".join(map(str, span)) for span in spans
    )
