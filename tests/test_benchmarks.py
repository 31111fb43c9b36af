"""The benchmark's own arithmetic, and the program under its clock."""

from __future__ import annotations

import json
import re
import runpy
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from parts import experiment

from vae_run.data.datasets.mnist import MNIST
from vae_run.sweeps.executors.forking import processes

if TYPE_CHECKING:
    from conftest import Run

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import family_peers  # noqa: E402
from bench import Bench, small_mnist  # noqa: E402
from builds import LAST_RELEASE, Swept, Trained, earlier, in_turn  # noqa: E402
from families import FAMILIES  # noqa: E402
from marks import GROUPS  # noqa: E402
from measure import Spread, markdown, run, script  # noqa: E402


def test_a_ratio_is_taken_within_each_round() -> None:
    spread = Spread.of_ratio([2.0, 30.0, 9.0], [1.0, 10.0, 9.0])
    assert (spread.median, spread.lowest, spread.highest) == (2.0, 1.0, 3.0)
    assert spread.text() == "2.00 (1.00 - 3.00)"
    assert Spread.of([1.5]).text() == "1.50", "a single figure has no spread to tell"
    with pytest.raises(ValueError, match="shorter"):
        Spread.of_ratio([1.0, 2.0], [1.0])


def test_every_other_round_is_reversed() -> None:
    assert [list(in_turn(["a", "b"], number)) for number in range(3)] == [
        ["a", "b"], ["b", "a"], ["a", "b"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bound", "found"),
    [
        ({"least": 0.9}, "at least 0.9: met"),
        ({"least": 0.91}, "at least 0.91: missed"),
        ({"most": 0.9}, "at most 0.9: met"),
        ({"most": 0.89}, "at most 0.89: missed"),
        ({}, ""),
    ],
)
def test_a_row_says_whether_its_median_meets_the_mark(
    bound: dict[str, float], found: str, tmp_path: Path
) -> None:
    bench = Bench(threads=1, rounds=3, root=tmp_path, folder=tmp_path)
    bench.marked("what", Spread.of([0.1, 0.9, 2.0]), **bound)
    assert bench.rows == [
        {"quantity": "what", "measured": "0.90 (0.10 - 2.00) times", "mark": found, "detail": ""}
    ]


def test_a_run_is_as_fast_at_the_end_as_at_its_start_less_what_compiling_took() -> None:
    trained = Trained(9.0, 1.0, 1.0, [20.0, 100.0, 50.0, 50.0, 90.0, 98.0], 1.0)
    assert trained.late() == pytest.approx(0.94), "the median of 90 and 98 to the second, 100"


def test_the_time_of_a_sweep_is_known_from_its_first_jobs() -> None:
    """Jobs of 10 s, two at a time, after 5 s of start-up, with 3 s of closing."""
    few, all_ = Swept(28.0, [15, 15, 25, 25], 1.0), Swept(88.0, [15.0] * 16, 1.0)
    assert few.seconds_of(16, 2) == all_.seconds_of(16, 2) == 88.0


def test_small_files_of_mnist_are_read_as_such(tmp_path: Path) -> None:
    splits = MNIST(root=str(small_mnist(tmp_path)), download=False).load()
    assert [len(s.images) for s in (splits.train, splits.val, splits.test)] == [900, 100, 200]


def test_an_earlier_revision_is_unpacked_with_a_cache_of_its_own(tmp_path: Path) -> None:
    try:
        base = earlier(LAST_RELEASE, tmp_path)
    except RuntimeError as error:
        pytest.skip(str(error))
    assert (base.tree / "src/vae_run/__main__.py").is_file()
    assert base.threads(2) == (), "it has no key for threads"
    first, second = base.cold(), base.cold()
    assert first.environment()["XDG_CACHE_HOME"] != second.environment()["XDG_CACHE_HOME"]
    with pytest.raises(RuntimeError, match="set BASE to a revision"):
        earlier("no-such-revision", tmp_path)


def test_each_row_of_the_benchmark_is_described() -> None:
    page = (BENCHMARKS.parent / "docs" / "performance.md").read_text()
    for names in GROUPS:
        assert f"| {', '.join(f'`{name}`' for name in names)} |" in page or all(
            f"| `{name}` |" in page for name in names
        ), names


def test_a_table_leaves_what_a_row_has_not_empty() -> None:
    assert markdown(("a", "b"), [{"a": 1}]) == "| a | b |\n| --- | --- |\n| 1 |  |"


def test_a_process_is_measured_and_its_failure_told() -> None:
    hungry = "x = bytearray(200_000_000); import os; print(os.environ['OMP_NUM_THREADS'])"
    small = f"from measure import run; print(run({[sys.executable, '-c', hungry]}, 3))"
    done = run([sys.executable, "-c", small], threads=1, folder=BENCHMARKS)
    output, peak = re.search(r"output='(.*?)\\n'.*peak_mb=([\d.]+)", done.output).groups()
    assert output == "3"
    assert 200 < float(peak) < 300
    with pytest.raises(RuntimeError, match="no such thing"):
        run([sys.executable, "-c", "raise SystemExit('no such thing')"], threads=1)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_families_beside_other_packages_have_the_sizes_of_their_peers(name: str) -> None:
    """Encoder and decoder have as many weights as the peer's layers, and the critic its own."""
    start = ["posterior.init=random"] if name == "vq_vae" else []
    made = experiment(*FAMILIES[name][1], *start, shape=(1, 28, 28))
    encoder = [784, *family_peers.WIDTHS]
    code = {"topk": 256, "factor_vae": 32}.get(name, 48)
    read = 16 if name == "factor_vae" else code
    sizes = [(784, code), (code, 784)] if name == "topk" else [
        *pairwise([*encoder, code]), *pairwise([read, *encoder[::-1]])
    ]  # fmt: skip
    parameters = sum(before * after + after for before, after in sizes)
    model = made.model
    trained = [p for p in model.parameters() if p.requires_grad]
    own = 0 if model.critic is None else sum(p.numel() for p in model.critic.parameters())
    assert sum(p.numel() for p in trained) - own == parameters


@pytest.mark.scale
def test_the_stages_of_a_run_add_up(tmp_path: Path) -> None:
    told = tmp_path / "stages.json"
    quick = ("device=cpu", "network.widths=[8]", "trainer.epochs=1", "evaluation.figures=[]")
    run(script("stages.py", told, *quick, f"hydra.run.dir={tmp_path / 'run'}"), 1, tmp_path)
    found = json.loads(told.read_text())
    stages = ("import", "data", "training", "evaluation", "figures", "closing")
    assert all(found[name] > 0 for name in stages), found
    assert sum(found[name] for name in stages) == pytest.approx(found["total"], abs=1e-6)
    assert found["import"] < found["first_step"] < found["trained"] < found["total"]
    assert found["imported_mb"] < found["peak_mb"]
    assert (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.scale
def test_removing_the_tricks_changes_no_result(tmp_path: Path, vae_run: Run) -> None:
    """A run without the trick is one of the pair that `tricks.py` compares."""
    quick = ("device=cpu", "network.widths=[8]", "trainer.steps=9", "evaluation.figures=[]")
    words = ["--without", "optimizer,allocator", *quick, f"hydra.run.dir={tmp_path / 'without'}"]
    process = processes().Process(target=without_tricks, args=(words,))  # type: ignore[attr-defined]
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert vae_run(*quick, f"hydra.run.dir={tmp_path / 'with'}").code == 0
    found = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("with", "without")]
    assert found[0]["test"] == found[1]["test"]


def without_tricks(words: list[str]) -> None:
    """`tricks.py WORDS`, in a process that was forked for it."""
    sys.argv = ["tricks.py", *words]
    runpy.run_path(str(BENCHMARKS / "tricks.py"), run_name="__main__")


def test_the_step_written_by_hand_is_the_tutorials() -> None:
    """Its gradients are autograd's, tensor by tensor."""
    import torch
    from by_hand import Flat, gradients
    from tutorial import VAE, negative_elbo

    torch.manual_seed(0)
    model, x = VAE(), torch.rand(16, 784)
    flat = Flat(VAE())
    flat.model.load_state_dict(model.state_dict())
    flat = Flat(flat.model)
    torch.manual_seed(1)
    gradients(flat, x)
    torch.manual_seed(1)
    (negative_elbo(x, *model(x)) / len(x)).backward()
    heads = (model.mean, model.log_variance)
    for number, group in enumerate(
        ((model.hidden,), heads, (model.decoder_hidden,), (model.logits,))
    ):
        for index, name in enumerate(("weight", "bias")):
            expected = torch.cat([getattr(layer, name).grad for layer in group])
            torch.testing.assert_close(flat.gradients[2 * number + index], expected)
    restored = flat.restored().state_dict()
    assert all(torch.equal(restored[name], value) for name, value in model.state_dict().items())
