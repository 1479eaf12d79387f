import logging
import os
import subprocess
import sys

import pytest

from barman.logs import Secret, level_number, redact, setup_logging


@pytest.mark.parametrize(
    "text",
    [
        "host=pg password=s3cret user=x",
        "password = 's3cret more' x",
        "postgresql://u:s3cret@h/db",
        "PASSWORD='a s3cret'",
        "password='s3cret that is never closed",
    ],
)
def test_passwords_are_redacted(text):
    assert "s3cret" not in redact(text)
    assert "*REDACTED*" in redact(text)


def test_redaction_keeps_the_rest_of_the_line_and_the_next_line():
    assert redact("password=x\nuser=y") == "password=*REDACTED*\nuser=y"


def test_a_secret_prints_redacted_everywhere():
    secret = Secret("s3cret")
    assert "s3cret" not in f"{secret} {secret!r} {secret:>20} {secret}"
    assert secret.reveal() == "s3cret"


def test_levels_are_names_or_numbers():
    assert level_number("info") == logging.INFO
    assert level_number("15") == 15
    assert level_number("chatty") is None


def test_a_rotated_log_file_is_opened_again_and_holds_no_password(tmp_path):
    path = tmp_path / "dir" / "barman.log"
    code = (
        "import logging, os, sys\nfrom barman.logs import setup_logging\n"
        "assert setup_logging(sys.argv[1], 'INFO') is None\nlog = logging.getLogger('x')\n"
        "log.info('first password=s3cret')\nos.rename(sys.argv[1], sys.argv[1] + '.1')\nlog.info('second')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert "second" in path.read_text()
    assert "first" in (tmp_path / "dir" / "barman.log.1").read_text()
    assert "s3cret" not in (tmp_path / "dir" / "barman.log.1").read_text()
    assert sorted(os.listdir(tmp_path / "dir")) == ["barman.log", "barman.log.1"]


def test_a_log_whose_directory_goes_away_stops_nobody(tmp_path):
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    directory = tmp_path / "log"
    setup_logging(str(directory / "barman.log"), "INFO")
    logging.getLogger("x").info("one")
    (directory / "barman.log").unlink()
    directory.rmdir()
    logging.getLogger("x").info("two")
    directory.mkdir()
    logging.getLogger("x").info("three")
    assert "three" in (directory / "barman.log").read_text()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)
