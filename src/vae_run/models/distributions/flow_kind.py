"""The kinds of normalising flows, by the names that keys have for them."""

from __future__ import annotations

from typing import Literal

FlowKind = Literal["spline", "iaf", "maf", "planar"]
