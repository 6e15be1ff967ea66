"""The command line. It is thin: every command ends in one call of the library.

The commands import heavy modules themselves, so that `stixbridge --help` is quick.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from stixbridge import __version__, stopping
from stixbridge.cli.screen import ReaderGone, complain, finish
from stixbridge.errors import StixbridgeError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="stixbridge")
def stixbridge() -> None:
    """From STIX 2 and TAXII to MISP.

    Pulls, converts and enriches STIX, creates and updates MISP events, and accounts for every
    object.
    """


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    stopping.request()  # for what works in other threads
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    The exit status: 0 done, 1 needs attention, 2 wrong use, 3 a server fails, 130 interrupted.

    Args:
        arguments: of the command line; those of the process when None.

    Returns:
        The exit status (also raised as SystemExit when run as a program).
    """
    if arguments is None:  # asked to end by the system: as by a person, temporary files are removed
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupted)
    stopping.withdraw()
    try:
        status = _run(sys.argv[1:] if arguments is None else arguments)
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; nothing is lost, run the command again")
        status = INTERRUPTED
    except (ReaderGone, BrokenPipeError):
        # the reader of our output has gone; Python would complain once more while closing it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = INTERRUPTED
    except Exception as error:
        status = _explain(error)
    if arguments is None:
        sys.exit(status)
    return status


def _run(arguments: Sequence[str]) -> int:
    """Run a command; its exit status."""
    from stixbridge.cli import commands

    commands.register(stixbridge)
    words = commands.spread(list(arguments))
    status = stixbridge.main(words, prog_name="stixbridge", standalone_mode=False) or 0
    finish()
    return int(status)


def _explain(error: Exception) -> int:
    """Show an error as a message; the exit status.

    There is no traceback for a user; STIXBRIDGE_TRACEBACK=1 shows it to a developer.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return 2
    if isinstance(error, click.ClickException):
        complain(error.format_message())
        return 2
    if isinstance(error, StixbridgeError):
        complain(str(error))
        return error.exit_status
    if os.environ.get("STIXBRIDGE_TRACEBACK"):
        raise error
    complain(f"this is a fault of stixbridge, please report it: {type(error).__name__}: {error}")
    return 2
