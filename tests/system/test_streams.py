"""Output on terminals of any encoding, and text that looks like markup."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import vae_run
from vae_run.cli.main import main
from vae_run.system.console import console, draws_bars
from vae_run.system.streams import LastingFile, lasting_streams


def ascii_stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("ascii")


def test_what_a_terminal_cannot_show_is_written_as_codes() -> None:
    out, err = ascii_stream(), ascii_stream()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with lasting_streams():
            console.print("猫: 1.5 ± 0.1 − 2 …")
            print("\udcff", file=err)
        with pytest.raises(UnicodeEncodeError):
            print("猫")
    assert written(out) == "\\u732b: 1.5 +- 0.1 - 2 ...\n"
    assert written(err) == "\\udcff\n"


def test_a_command_works_on_a_terminal_that_is_not_utf_8(tmp_path: Path) -> None:
    for words, code, told in (
        (["--cfg", "job", "init_from=猫"], 0, "\\u732b"),
        (["dataset=猫"], 1, "error: dataset=\\u732b: "),
        (["task=check", "device=cpu", "network.widths=[4]"], 0, "model=vae"),
    ):
        out, err = ascii_stream(), ascii_stream()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main(words)
        assert ended.value.code == code
        assert told in written(out) + written(err)


def test_no_text_is_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.print("sw [beta] [/] :cat: \\[x]")
    assert capsys.readouterr().out == "sw [beta] [/] :cat: \\[x]\n"
    sources = list(Path(vae_run.__file__).parent.rglob("*.py"))
    markup = re.compile(r"rich\.markup|\[/\]")  # the console would show it as it is
    assert [file for file in sources if markup.search(file.read_text("utf-8"))] == []


def test_what_cannot_be_written_is_dropped_and_nothing_fails_later(
    capfd: pytest.CaptureFixture[str],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for descriptor, told in ((writer, ""), (os.open("/dev/full", os.O_WRONLY), "No space left")):
        stream = io.TextIOWrapper(io.BufferedWriter(LastingFile(descriptor, "w")), encoding="utf-8")
        for _ in range(3):
            stream.write("text" * 5000)
            stream.flush()
        assert os.write(descriptor, b"by another writer of the process") == 32
        stream.close()
        said = capfd.readouterr().err
        assert said.count("standard output ends here") == bool(told)
        assert told in said


def test_what_can_be_written_arrives_whole(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        stream = io.TextIOWrapper(
            io.BufferedWriter(LastingFile(file.fileno(), "w", closefd=False)), encoding="utf-8"
        )
        stream.write("猫" * 10_000)
        stream.flush()
    assert (tmp_path / "out").read_text("utf-8") == "猫" * 10_000


def test_a_bar_is_drawn_on_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_force_terminal", True)  # as by FORCE_COLOR=1
    assert console.is_terminal
    assert not draws_bars()


def test_a_full_pipe_that_does_not_wait_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    stream = io.TextIOWrapper(io.BufferedWriter(LastingFile(writer, "w")), encoding="utf-8")
    text = "x" * 300_000
    taken: list[bytes] = []

    def read() -> None:
        with open(reader, "rb") as file:
            taken.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    stream.write(text)
    stream.close()
    thread.join(30)
    assert taken == [text.encode()]


def test_descriptors_that_were_missing_are_there_for_children_too() -> None:
    code = """
import os
from vae_run.system.streams import open_missing
open_missing()
print(*(os.get_inheritable(number) for number in (0, 1, 2)), file=open("found", "w"))
"""
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- 2>&-', sys.executable, code], check=False
    )
    found = Path("found").read_text()
    Path("found").unlink()
    assert done.returncode == 0
    assert found == "True True True\n"
