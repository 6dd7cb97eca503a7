"""The progress line: rewritten on a terminal, whole lines elsewhere or nothing."""

from __future__ import annotations

import io

from parvis.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_whole_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(10, batch=4, unit="img", stream=stream, every=0)
    progress.tell(5, {"loss": 1.25})
    progress.tell(10, {"loss": 1.0}, end=True)
    first, second = stream.getvalue().splitlines()
    assert "step 5/10" in first and "loss 1.25" in first and "img/s" in first and "ETA 0:00:00" in second


def test_nothing_there_unless_lines_are_asked_for() -> None:
    stream = io.StringIO()
    progress = Progress(2, stream=stream)
    progress.tell(2, end=True)
    progress.clear()
    assert stream.getvalue() == ""


def test_a_terminal_gets_one_line_with_a_bar_that_can_be_taken_away() -> None:
    stream = Terminal()
    progress = Progress(4, what="pass", stream=stream)
    progress.tell(1, end=True)
    assert stream.getvalue().startswith("\rpass [######..................]  1/4") and stream.getvalue().endswith("\n")
    stream.truncate(0)
    progress.clear()
    assert stream.getvalue().strip("\0 ").replace(" ", "") == "\r\r"


def test_quiet_is_quiet_on_a_terminal_too() -> None:
    stream = Terminal()
    Progress(4, stream=stream, quiet=True).tell(4, end=True)
    assert stream.getvalue() == ""
