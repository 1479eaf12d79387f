"""The command lines of the WAL clients with values that make no sense: exit code 2, one message, no connection."""

from __future__ import annotations

import argparse
import contextlib
import io

import pytest

from barman.clients import wal_archive, wal_restore

VALUES = ("", "-1", "1.5", "nonsense", "a\nb")
POSITIONALS = ("host", "server", "000000010000000000000001", "pg_wal/RECOVERYXLOG")


@pytest.mark.parametrize("client", [wal_archive, wal_restore], ids=lambda client: client.__name__.rpartition(".")[2])
def test_a_value_that_makes_no_sense_is_refused_by_the_parser_or_taken(client) -> None:  # type: ignore[no-untyped-def]  # a module
    parser: argparse.ArgumentParser = client.argument_parser()
    names = POSITIONALS[: len([action for action in parser._actions if not action.option_strings])]
    for action in parser._actions:
        if not action.option_strings or action.nargs == 0:
            continue
        for value in VALUES:
            said, code = io.StringIO(), None
            with contextlib.redirect_stderr(said):
                try:
                    parser.parse_args([f"{action.option_strings[-1]}={value}", *names])
                except SystemExit as end:
                    code = end.code
            assert code in (None, 2)
            assert said.getvalue().count("error: ") == (code == 2)


@pytest.mark.parametrize("level", ["", "best", "1.5"])
def test_a_compression_level_that_is_none_is_named_before_anything_is_sent(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        wal_archive.run(["--gzip", f"--compression-level={level}", *POSITIONALS[:3]])
    assert end.value.code == 2
    assert f"argument --compression-level: '{level}' is not low, medium, high or a number" in capsys.readouterr().err
