"""Progress as lines and as a live bar."""

import io

import pytest
from rich.console import Console

from slicing.progress import LineProgress, LiveProgress, default_progress, open_task


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_at_most_every_few_seconds_and_once_at_the_end() -> None:
    clock, stream = Clock(), io.StringIO()
    with LineProgress(stream, every=5, clock=clock).task("training", 100, "images") as task:
        for step in range(10):
            clock.now += 2
            task.advance(10, f"step {step}")
    assert stream.getvalue().splitlines() == [
        "training: 30/100 images (30%), 5 images/s, ETA 0:00:14, step 2",
        "training: 60/100 images (60%), 5 images/s, ETA 0:00:08, step 5",
        "training: 90/100 images (90%), 5 images/s, ETA 0:00:02, step 8",
        "training: 100/100 images (100%), 5 images/s, ETA 0:00:00, step 9",
    ]


def test_work_done_earlier_does_not_count_for_the_pace() -> None:
    clock, stream = Clock(), io.StringIO()
    with LineProgress(stream, every=0, clock=clock).task("t", 1000, done=900) as task:
        clock.now += 50
        task.advance(50)
    assert stream.getvalue().splitlines()[0] == "t: 950/1,000 items (95%), 1 items/s, ETA 0:00:50"


def test_a_corrected_total_corrects_share_and_eta() -> None:
    clock, stream = Clock(), io.StringIO()
    with LineProgress(stream, every=0, clock=clock).task("t", 10_000_000) as task:
        task.set_total(7300)
        clock.now += 1
        task.advance(100)
    assert stream.getvalue().splitlines()[0] == "t: 100/7,300 items (1%), 100 items/s, ETA 0:01:12"


def test_a_failed_task_claims_no_end() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), LineProgress(stream).task("t", 10):
        raise KeyboardInterrupt
    assert stream.getvalue() == ""


def test_the_live_bar_shows_pace_and_note_as_they_are() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=160, color_system=None)
    with LiveProgress(console).task("training [all]", 40, "images", done=10) as task:
        task.advance(10, "loss [low]")
    shown = stream.getvalue()
    assert "training [all]" in shown
    assert "50%" in shown
    assert "images/s, ETA 0:0" in shown
    assert "loss [low]" in shown


def test_the_stream_decides() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(default_progress(stream=io.StringIO()), LineProgress)
    assert isinstance(default_progress(stream=Terminal()), LiveProgress)
    assert default_progress(quiet=True, stream=Terminal()) is None


def test_none_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with open_task(None, "t", 10) as task:
        task.set_total(20)
        task.advance(10, "note")
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
