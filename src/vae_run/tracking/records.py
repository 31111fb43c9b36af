"""What waits to be sent to a service, and how what was lost is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vae_run.tracking.service import Point, Service


@dataclass(frozen=True)
class Item:
    """A call that waits.

    Attributes:
        kind: what it sends, in the plural: "pictures".
        records: how many of them.
        size: bytes of memory that it holds, about.
        call: sends them.
        points: the numbers that it sends, which may be joined with those of other items.
    """

    kind: str
    records: int
    size: int
    call: Callable[[Service], None]
    points: Sequence[Point] = ()


@dataclass
class Lost:
    """Counts what was not sent.

    Attributes:
        kinds: records of each kind.
        steps: of the earliest and of the latest number among them; empty without numbers.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    steps: list[int] = field(default_factory=list)

    def add(self, item: Item) -> None:
        """Count a call that was never made, or failed for good."""
        self.kinds[item.kind] += item.records
        found = [*self.steps, *(point.step for point in item.points)]
        self.steps = [min(found), max(found)] if found else []

    @property
    def total(self) -> int:
        return self.kinds.total()

    def told(self) -> str:
        """Which they are: "300 numbers of steps 10 to 90, 6 pictures"."""
        parts = []
        for kind, count in self.kinds.items():
            steps = ""
            if kind == "numbers":
                first, last = self.steps
                steps = f" of step {first}" if first == last else f" of steps {first} to {last}"
            if count:
                parts.append(f"{count:,} {kind if count > 1 else kind.removesuffix('s')}{steps}")
        return ", ".join(parts)
