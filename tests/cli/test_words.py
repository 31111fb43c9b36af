"""Words that Hydra's grammar refuses or misreads: taken as paths, or answered with what helps."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from vae_run.cli import hydra_api
from vae_run.cli.words import parsed, text_of, understood, unreadable
from vae_run.errors import ConfigError

if TYPE_CHECKING:
    from conftest import Run

TINY = (
    *("device=cpu", "network.widths=[8]", "trainer.steps=2", "evaluation.figures=[]"),
    "evaluation.metrics=[mse]",
)
PATHS = (
    "lr=0.1",
    "lr=0.1,b",
    "[beta",
    "a[1]",
    "a(1)",
    "it's",
    'a"b',
    "~/x",
    "a#b",
    "猫",
    "'a",
    "7",
)


def test_a_file_of_a_split_is_taken_as_it_is_typed() -> None:
    (word,) = understood(["dataset.test=a b(1), c.csv"], multirun=False)
    assert text_of([word], "dataset.test") == "a b(1), c.csv"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["run", "hydra.run.dir", "+output", "dataset.path"])
def test_a_path_is_taken_as_it_is_typed(key: str, path: str) -> None:
    (word,) = understood([f"{key}={path}"], multirun=False)
    assert text_of([word], key.lstrip("+")) == path
    assert understood([word], multirun=False) == [word], "reading it again changes nothing"


@pytest.mark.parametrize(
    ("word", "multirun"),
    [
        ("run=outputs/a b", False),
        ("run='a=b'", False),
        ("run=a\\=b", False),
        ("runs=[a,b]", False),
        ("runs=[a=1,b=2]", False),
        ("runs=a,b", True),
        ("input=a,b", True),
        ("dataset.path=a,b", True),
        ("dataset.path=a=1,b=2", True),
        ("init_from=a,b", True),
        ("dataset.cache=false", False),
        ("dataset.root=null", False),
        ("dataset.test=0.2", False),
        ("dataset.test=[a.tar,b.tar]", False),
        ("hydra.run.dir=${now:%Y}/a", False),
        ("hydra.launcher.runs=4", True),
        ("likelihood=a=b", False),
    ],
)
def test_a_word_with_a_meaning_in_hydra_keeps_it(word: str, multirun: bool) -> None:
    assert understood([word], multirun=multirun) == [word]


@pytest.mark.parametrize("path", ["a,b", "a, b.png", "a b,c=1", "choice(a,b)", "(1).npy"])
@pytest.mark.parametrize("key", ["input", "runs"])
def test_without_brackets_the_value_of_a_list_is_one_path(key: str, path: str) -> None:
    assert text_of(understood([f"{key}={path}"], multirun=False), key) == path


def test_a_file_whose_name_begins_with_a_bracket_is_one_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    word = "input=[1] a.png"
    assert understood([word], multirun=False) == [word]
    (tmp_path / "[1] a.png").touch()
    assert text_of(understood([word], multirun=False), "input") == "[1] a.png"


@pytest.mark.parametrize("path", ["[a]", "{a}", "true", "a,b", "1e3"])
@pytest.mark.parametrize("key", ["run", "hydra.run.dir", "init_from"])
def test_where_only_one_path_makes_sense_it_is_one_path(key: str, path: str) -> None:
    assert text_of(understood([f"{key}={path}"], multirun=False), key) == path


def test_the_folder_of_a_sweep_is_one_path() -> None:
    (word,) = understood(["sweep.dir=a=1,b=2"], multirun=True)
    assert text_of([word], "sweep.dir") == "a=1,b=2"
    (word,) = understood(["sweep.dir=a,b"], multirun=True)
    assert text_of([word], "sweep.dir") == "a,b"


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"run=\\udcff: is not text in UTF-8"):
        understood(["run=\udcff"], multirun=False)


def refusal(word: str) -> str:
    with pytest.raises(OverrideParseException) as caught:
        OverridesParser.create().parse_overrides([word])
    return unreadable(caught.value)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("seed=randint(3)", "seed=randint(3): Unknown function 'randint'. Available: bool,choice"),
        ("lr=choice(null,1.0)", "listed without a function: lr=null,..."),
        ("seed=range(a)", "mismatch type argument start: str is incompatible with"),
        ("x=int(a)", "invalid literal for int() with base 10: 'a'."),
        ("network.widths=[8,4", "Close its brackets. Quote a list for the shell: '"),
        ("a b=3", "The text before its first =, 'a b', is no key."),
        ("latent_dim", "There is no = in it."),
    ],
)
def test_the_message_says_what_is_wrong_with_a_word(word: str, told: str) -> None:
    message = refusal(word)
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize("value", ["lr=0.1", "a[1]", 'é"x', "it's"])
def test_the_remedy_in_a_message_works(value: str) -> None:
    remedy = refusal(f"dataset.name={value}").split("within the shell's: ")[1].removesuffix(".")
    (word,) = shlex.split(remedy)
    read = parsed(word)
    assert read is not None
    assert read.value() == value


def test_several_values_without_m_are_told_their_three_forms(vae_run: Run) -> None:
    refused = vae_run("latent_dim=2,3")
    assert refused.code == 1
    assert "latent_dim=2,3: several values are a sweep, which needs -m." in refused.err
    several = vae_run("model=vae,ae")
    assert several.code == 1
    assert several.err == (
        "error: model=vae,ae: several options are a sweep, which needs -m: vae-run -m model=vae,ae"
        " ...\n"
    )
    assert "'latent_dim=[2,3]'" in refused.err
    assert "'latent_dim=\"2,3\"'" in refused.err


def test_options_may_stand_between_overrides() -> None:
    asked = hydra_api.parse(["device=cpu", "-m", "seed=0,1", "--config-dir", "x", "latent_dim=2"])
    assert asked.multirun
    assert asked.config_dir == "x"
    assert asked.overrides == ["device=cpu", "seed=0,1", "latent_dim=2"]
    swept = ["hydra.mode=MULTIRUN", "init_from=a,b"]
    assert hydra_api.parse(swept).overrides == swept


def test_commands_of_a_report_can_be_pasted(
    vae_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run in a folder of the home folder with a hard name, and what its report says to do."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = vae_run(*TINY, "hydra.run.dir=~/lr=0.1,b [é]")
    assert made.code == 0, made.said
    run = tmp_path / "home" / "lr=0.1,b [é]"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"], "no folder is named ~"
    text = html.unescape(re.sub(r"<[^>]*>", "\n", (run / "report.html").read_text("utf-8")))
    (line,) = (line for line in text.splitlines() if "task=sample" in line)
    sampled = vae_run(*shlex.split(line)[1:])
    assert sampled.code == 0, sampled.said
    assert (tmp_path / "samples.png").is_file()
    again = vae_run(*TINY, f"hydra.run.dir={run}")
    assert again.code == 1
    resume = shlex.split(again.err.split("go on with it: ")[1])
    assert resume[:2] == ["vae-run", "task=resume"]
    assert text_of(resume[2:], "run") == str(run)
    asked = vae_run("task=evaluate", f"run={run}", "corruption.level=0.5", "device=cpu")
    assert "corruption.level" in asked.err, "the run's corruption, none, has no level"


def test_the_remedy_for_a_list_quotes_each_of_its_texts() -> None:
    remedy = refusal("runs=[runs/0-model=ae,runs/1 b]").split("each its own: ")[1]
    found = parsed(shlex.split(remedy.removesuffix("."))[0])
    assert found is not None
    assert found.value() == ["runs/0-model=ae", "runs/1 b"]


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("tracker=[mlflow]", ["tracker=mlflow"]),
        ("tracker=[]", ["tracker=none"]),
        ("tracker=[none,mlflow]", ["tracker=mlflow"]),
        ("tracker=mlflow", ["tracker=mlflow"]),
        (
            "tracker=[mlflow,wandb]",
            [
                *("tracker=several", "+tracker@tracker.mlflow=mlflow"),
                "+tracker@tracker.wandb=wandb",
            ],
        ),
    ],
)
def test_a_list_of_trackers_is_one_below_each_name(word: str, words: list[str]) -> None:
    assert understood([word, "seed=1"], multirun=False) == [*words, "seed=1"]
    assert understood([word, "seed=1"], multirun=True) == [*words, "seed=1"]


def test_a_key_of_several_trackers_has_a_name() -> None:
    words = ["tracker=[mlflow,wandb]", "tracker.mlflow.uri=http://h:1"]
    assert understood(words, multirun=False)[-1] == words[-1]
    with pytest.raises(ConfigError, match=r"tracker\.mlflow\.uri or tracker\.wandb\.uri"):
        understood([words[0], "tracker.uri=http://h:1"], multirun=False)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("--modle=vae", "Keys have no dashes: did you mean model=vae?"),
        ("-lr=0.1", "did you mean optimizer.lr=0.1?"),
        ("--seed=1", "did you mean seed=1?"),
        ("--hlep", "Did you mean --help?"),
        ("--mutlirun", "Did you mean --multirun?"),
        ("--model", "A key is given without dashes: model=VALUE."),
        ("-cd/tmp/lr=0.1", "A space follows an option: -cd /tmp/lr=0.1"),
        ("--zzzzzz=1", "Keys have no dashes."),
        ("-x", "vae-run --help lists them."),
    ],
)
def test_an_option_that_does_not_exist_is_told_with_what_was_meant(
    word: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        hydra_api.parse(["model=vae", word])
    assert caught.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{word}: there is no such option. " in said
    assert told in said


@pytest.mark.parametrize(
    ("word", "field", "value"),
    [
        ("--help", "help", True),
        ("-m", "multirun", True),
        ("--multi", "multirun", True),
        ("-cjob", "cfg", "job"),
        ("--cfg=job", "cfg", "job"),
        ("a=-1", "overrides", ["a=-1"]),
        ("-cd=x", "config_dir", "x"),
    ],
)
def test_an_option_that_exists_is_taken(word: str, field: str, value: object) -> None:
    assert getattr(hydra_api.parse([word]), field) == value
    assert getattr(hydra_api.parse([]), field) != value
