import sys

from barman.output.console import ConsoleReporter, describe_progress
from barman.report import Progress


def reporter(lines, **kwargs):
    return ConsoleReporter(lambda level, message: lines.append((level, message)), **kwargs)


def test_lines_go_to_their_streams_and_to_the_log(capsys):
    log = []
    console = reporter(log)
    console.info("done")
    console.warning("careful")
    console.error("failed\nbecause")
    console.listing("data")
    console.close()
    out, err = capsys.readouterr()
    assert out == "done\ndata\n"
    assert err == "WARNING: careful\nERROR: failed\nbecause\n"
    assert log == [("info", "done"), ("warning", "careful"), ("error", "failed\nbecause")]
    assert console.failed


def test_passwords_are_redacted_on_both_streams(capsys):
    console = reporter([])
    console.info("conninfo: host=pg password=s3cret")
    console.error("password='s3cret'")
    out, err = capsys.readouterr()
    assert "s3cret" not in out + err


def test_progress_is_not_drawn_when_the_output_is_no_terminal(capsys):
    console = reporter([])
    console.progress(Progress("Copying", 5, 10, started_at=0.0))
    assert capsys.readouterr() == ("", "")
    assert not sys.stderr.isatty()


def test_progress_tells_amount_rate_and_time_left():
    progress = Progress("Copying", 512 << 20, 1 << 30, started_at=100.0)
    assert describe_progress(progress, 104.0) == "Copying   50%  512.0 MiB of 1.0 GiB  128.0 MiB/s  ETA 0:00:04"


def test_progress_without_a_total_tells_what_is_known():
    assert describe_progress(Progress("Archiving", 12, None, unit="segments", started_at=0.0), 4.0) == (
        "Archiving  12 segments  3 segments/s"
    )
