"""Steps of the training loop on a small experiment."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from vae_run.data.batches import TrainingBatches
from vae_run.training.optimizers import Adam
from vae_run.training.schedules import Constant
from vae_run.training.step import StepRecord, fit

BATCH = 32  # of 90 images: epochs of three steps, the last smaller


def batches_of(made, seed=0):
    return TrainingBatches(
        made.splits.train, made.corruption, batch_size=BATCH, noise=(1, 3), seed=seed
    )


def fitting(made, optimizer=None, **changes):
    """fit() with plain choices, and its optimizer and batches."""
    made.model.train()
    optimizer = optimizer or Adam(made.model.parameters(), lr=0.01)
    how = {"batches": batches_of(made), "schedule": Constant(), "objective": made.objective}
    how |= {"step": 0, "clip_norm": None, "precision": nullcontext()} | changes
    return fit(made.model, optimizer=optimizer, **how)


def record_of(*values, other=0.0, step=1, skipped=0.0):
    terms = {"loss": torch.tensor(values), "kl": torch.full((len(values),), other)}
    return StepRecord(step, len(values), terms, 0.1, torch.tensor(1.0), torch.tensor(skipped))
