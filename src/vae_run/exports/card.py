"""The model card of a folder for the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator

from vae_run.evaluation.quantities import TABLE
from vae_run.exports.facts import axes, code, condition, prior, values
from vae_run.exports.source import Source
from vae_run.system.formatting import number
from vae_run.version import __version__


def card(source: Source, repository: str) -> str:
    """Markdown, with the header that the hub reads; metrics are those of the run's evaluation."""
    family = source.family or "autoencoder"
    dataset = source.settings.classes["dataset"].__name__
    head = f"""\
---
library_name: vae-run
tags: [autoencoder, {family}]
---

# {source.name}

A model of the family `{family}`, trained by vae-run {__version__} on `{dataset}`;
{parameter_count_of(source):,} parameters.

```python
from vae_run.exports import from_pretrained  # pip install 'vae-run[hub]'

model = from_pretrained("{repository}")
codes = model.encode(x).mean  # x: float32 {["batch", *source.event_shape]}
decoded = model.decode(codes).mean
```

- x: {source.noun}; {values(source)}; {axes(source)}
- z: {code(source)}
- new examples: {prior(source)}
"""
    given = [f"- {port.name}: {port.meaning}\n" for port in condition(source)]
    return head + "".join(given) + "".join(metrics(source))


def parameter_count_of(source: Source) -> int:
    """Numbers that training set, in the model without what only the objective needs."""
    critic = source.model.critic
    total = sum(p.numel() for p in source.model.parameters())
    return total - (0 if critic is None else sum(p.numel() for p in critic.parameters()))


def metrics(source: Source) -> Iterator[str]:
    """The lines of the table of metrics, with their units; nothing without metrics."""
    found = {split: each for split, each in (source.metrics or {}).items() if split != "train"}
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    if not names:
        return
    yield "\n## Metrics\n\n"
    yield f"| metric | {' | '.join(found)} | unit |\n|{' --- |' * (len(found) + 2)}\n"
    for name in names:
        cells = [number(each[name]) if name in each else "" for each in found.values()]
        yield f"| {name} | {' | '.join(cells)} | {TABLE.of(name).unit} |\n"
