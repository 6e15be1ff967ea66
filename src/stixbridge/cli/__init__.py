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
    from stixbridge.cli import commands

    commands.register(stixbridge)
    stopping.withdraw()
    if arguments is None:
        # asked to end by the system: as by a person, with what is temporary removed
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupted)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = (
            stixbridge.main(commands.spread(given), prog_name="stixbridge", standalone_mode=False)
            or 0
        )
        finish()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        status = 2
    except click.ClickException as error:
        complain(error.format_message())
        status = 2
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; nothing is lost, run the command again")
        status = INTERRUPTED
    except StixbridgeError as error:
        complain(str(error))
        status = error.exit_status
    except (ReaderGone, BrokenPipeError):
        # whoever read our output has gone; Python would complain once more while closing it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = INTERRUPTED
    except Exception as error:
        # no traceback for a user; STIXBRIDGE_TRACEBACK=1 shows it to a developer
        if os.environ.get("STIXBRIDGE_TRACEBACK"):
            raise
        complain(
            f"this is a fault of stixbridge, please report it: {type(error).__name__}: {error}"
        )
        status = 2
    if arguments is None:
        sys.exit(status)
    return int(status)
