# PYTHON_ARGCOMPLETE_OK
"""The entry point and the only place where errors become messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys

from barman.errors import BarmanError, ConfigError, Interrupted, describe_refusal
from barman.interrupts import raise_interrupted
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from barman.cli.context import Context
    from barman.config.loader import Settings
    from barman.output.console import ConsoleReporter
    from barman.output.json import JsonReporter

# 128 + SIGPIPE: what a shell reports for a program that a closed pipe ended.
_CLOSED_PIPE = 141


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    if "_ARGCOMPLETE" in os.environ:
        from barman.cli.completion import complete

        complete()
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the command line and return the exit code (0, 1, 2 or 3; see the reference of exit codes)."""
    from barman.cli.context import close_standard_output
    from barman.cli.parser import parse

    _open_missing_streams()
    try:
        options, args, module = parse(argv)
        code = _run_command(options, args, module)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        close_standard_output()
        return _CLOSED_PIPE
    except (KeyboardInterrupt, Interrupted):
        # Before the handlers of `_guarded` are there, or after: nothing has been begun, or all is done.
        close_standard_output()
        sys.stderr.write("ERROR: Process interrupted by user (KeyboardInterrupt)\n")
        return 1
    except OSError as error:
        # Standard output is full: what was asked for has been done, its account is lost.
        close_standard_output()
        sys.stderr.write(f"ERROR: {describe_refusal(error)}\n")
        return 1
    except ConfigError as error:
        # The configuration could not be loaded at all: there is no reporter yet.
        sys.stderr.write(f"{error.message}\n" if error.bare else f"ERROR: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"HINT: {error.hint}\n")
        return 1
    except BarmanError as error:
        sys.stderr.write(f"ERROR: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"HINT: {error.hint}\n")
        return error.exit_code


def _open_missing_streams() -> None:
    """Let a process that was started with closed standard streams write into the void: files never get their number."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_WRONLY)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _run_command(options: argparse.Namespace, args: argparse.Namespace | None, module: Any) -> int:
    from barman.cli.context import Context
    from barman.cli.user import become
    from barman.config.loader import barman_user, load_settings
    from barman.logs import open_with

    if os.getuid() == 0:
        # Before anything but the main file is read: the other files may be readable for that user only.
        become(barman_user(options.config, os.environ))
    settings = load_settings(options.config, os.environ)
    become(settings.barman.barman_user)
    log = _Log(settings, options.log_level)
    reporter = _reporter(options, log)
    # What runs once a segment, or changes nothing, opens the log with its first message only.
    is_light = getattr(module, "LIGHT", False)
    context = Context(options, settings, reporter, open_log=_not_yet if is_light else log.open)
    if module is None:
        from barman.cli.parser import global_parser

        global_parser().print_help()
        return 0
    open_with(log.open)
    if "logging" in sys.modules:
        # A library that imports it may write to it, and unformatted records must never reach a terminal.
        log.open()
    for problem in settings.problems:
        reporter.warning(problem.text)
    for problem in settings.log_problems:
        log("warning", problem.text)
    code = _guarded(args, module, context, log)
    reporter.close()
    if code == 0 and getattr(reporter, "reader_has_gone", False):
        return _CLOSED_PIPE
    return code


def _not_yet() -> None:
    pass


def _guarded(args: argparse.Namespace | None, module: Any, context: Context, log: _Log) -> int:
    from barman.cli.context import report_error

    reporter = context.reporter
    handlers = {number: signal.signal(number, raise_interrupted) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        module.run(args, context)
    except BarmanError as error:
        report_error(error, reporter)
        return error.exit_code
    except Interrupted as interruption:
        if process := sys.modules.get("barman.process"):
            process.end_children()
        if interruption.signal_name == "SIGINT":
            reporter.error("Process interrupted by user (KeyboardInterrupt)")
        else:
            reporter.error(f"process interrupted by {interruption.signal_name}")
        return 1
    except BrokenPipeError:
        raise
    except OSError as error:
        _log_traceback(log)
        reporter.error(describe_refusal(error))
        return 1
    except Exception as error:  # noqa: BLE001  # the boundary: no traceback reaches a terminal
        _log_traceback(log)
        reporter.exception(f"{type(error).__name__}: {error}")
        return 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if context.exit_code is not None:
        return context.exit_code
    return 1 if reporter.failed else 0


def _log_traceback(log: _Log) -> None:
    import logging

    # A logger without a file would print on the terminal.
    log.open()
    logging.getLogger("barman").exception("unexpected failure")


class _Log:
    """The log file, opened by the first message: importing and opening it costs more than a light command's work."""

    def __init__(self, settings: Settings, level: str | None) -> None:
        self._settings = settings
        self._level = level
        self._opened = False

    def open(self) -> None:
        if self._opened:
            return
        self._opened = True
        from barman.logs import setup_logging

        general = self._settings.barman
        warning = setup_logging(general.log_file, self._level or general.log_level, general.log_format)
        if warning:
            sys.stderr.write(f"WARNING: {warning}\n")

    def __call__(self, level: str, message: str) -> None:
        if level == "debug" and not self._opened:
            return
        self.open()
        import logging

        logging.getLogger("barman").log(getattr(logging, level.upper()), "%s", message)


def _reporter(options: argparse.Namespace, log: _Log) -> ConsoleReporter | JsonReporter:
    if options.format == "json":
        from barman.output.json import JsonReporter

        return JsonReporter(log, quiet=options.quiet, debug=options.debug)
    from barman.output.console import ConsoleReporter

    return ConsoleReporter(log, quiet=options.quiet, debug=options.debug, color=options.color)
