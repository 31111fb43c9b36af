"""Text of any script in pictures: a font that has it, or codes and numbers in its place."""

from __future__ import annotations

import logging
import unicodedata
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from vae_run.evaluation import few_images
from vae_run.plots import fonts, scatter
from vae_run.plots.canvas import Sheet, text_width


@pytest.fixture
def no_other_font(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with DejaVu Sans and no other font."""
    caches = (fonts._font_with, few_images._can_be_drawn)
    for cached in caches:
        cached.cache_clear()
    monkeypatch.setattr(fonts, "_names", lambda: [fonts.DEFAULT])
    yield
    for cached in caches:
        cached.cache_clear()


def drawn(text: str) -> np.ndarray:
    sheet = Sheet(80, 30)
    sheet.text(5, 15, text)
    return sheet.picture()


def test_a_character_is_drawn_by_a_font_that_has_it() -> None:
    """STIXGeneral comes with matplotlib, and has characters that DejaVu Sans lacks."""
    lacking = fonts._characters("STIXGeneral") - fonts._characters(fonts.DEFAULT)
    letters = (chr(code) for code in sorted(lacking))
    letter = next(one for one in letters if unicodedata.category(one) in ("So", "Sm", "Ll", "Lu"))
    text = f"a{letter}"
    assert fonts.drawable(text)
    assert fonts.shown(text) == text
    assert len(fonts.families(text)) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (drawn(text) != drawn("a")).any()
    assert text_width(text, 12) > text_width("a", 12)


def test_latin_greek_and_cyrillic_need_one_font() -> None:
    assert fonts.families("Größe µ ж") == [fonts.DEFAULT]
    assert fonts.shown("Größe µ ж") == "Größe µ ж"


@pytest.mark.usefixtures("no_other_font")
def test_what_no_font_has_is_written_as_a_code() -> None:
    assert fonts.shown("a 猫\n\udcff") == "a \\u732b\\n\\udcff"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (drawn("猫") == drawn("\\u732b")).all()
        points = np.array([[0.0, 0.0], [1.0, 1.0]])
        picture = scatter(points, ["猫", "犬"], ("x", "y"), [])
    assert picture.shape[2] == 3


@pytest.mark.usefixtures("no_other_font")
def test_class_names_that_no_font_has_are_numbers(caplog: pytest.LogCaptureFixture) -> None:
    names = ("猫", "dog")
    with caplog.at_level(logging.INFO, logger="vae_run"):
        assert [few_images.class_name(label, names) for label in (0, 1, 0)] == ["0", "1", "0"]
    (message,) = caplog.messages
    assert message.endswith("pictures show their numbers: 0 is 猫, 1 is dog")
    assert few_images.class_name(1, ("cat", "dog")) == "dog"
