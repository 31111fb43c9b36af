"""How many jobs of a sweep share the program of a compiled step."""

from __future__ import annotations

from parts import composed

from vae_run.config.check import check
from vae_run.sweeps.ledger import Entry
from vae_run.sweeps.sweepers.ledger_sweep import CheckedJob, shared_programs


def test_jobs_share_one_as_far_as_nothing_that_it_contains_differs() -> None:
    words = (
        ("seed=1", "optimizer.lr=0.1"),
        ("seed=2", "objective.beta=4", "trainer.epochs=3"),
        ("seed=3", "network.widths=[9]"),
        ("seed=4", "optimizer.betas=[0.5,0.9]"),
        ("seed=5",),
        ("seed=6",),
    )
    entries = [Entry(f"{i}", list(one)) for i, one in enumerate(words)]
    entries[4].state = "completed"
    jobs = [CheckedJob(list(one), check(composed(*one))) for one in words]
    found = shared_programs(zip(jobs, entries, strict=True))
    assert found == {"0": 3, "1": 3, "5": 3, "2": 1, "3": 1}
