"""The model card of a folder for the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator

from vae_run.evaluation.quantities import TABLE
from vae_run.exports.facts import axes, code, condition, prior, values
from vae_run.exports.plain_text import markdown, one_line
from vae_run.exports.source import Source
from vae_run.system.array_archive import MARK
from vae_run.system.files import json_text
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

# {markdown(source.name)}

A model of the family `{family}`, trained on `{dataset}`; {parameter_count_of(source):,} parameters.
This card was {MARK} {__version__}.

```python
from vae_run.exports import from_pretrained  # needs huggingface-hub, safetensors

model = from_pretrained({json_text(one_line(repository))})
codes = model.encode(x).mean  # x: float32 {["batch", *source.event_shape]}
decoded = model.decode(codes).mean
```

- x: {source.noun}; {markdown(values(source))}; {markdown(axes(source))}
- z: {markdown(code(source))}
- new examples: {markdown(prior(source))}
"""
    given = [f"- {port.name}: {markdown(port.meaning)}\n" for port in condition(source)]
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
    yield f"| metric | {' | '.join(map(markdown, found))} | unit |\n"
    yield f"|{' --- |' * (len(found) + 2)}\n"
    for name in names:
        cells = [number(each[name]) if name in each else "" for each in found.values()]
        yield f"| {markdown(name)} | {' | '.join(cells)} | {TABLE.of(name).unit} |\n"
