"""The reference of the command line: `make reference` writes docs/cli.md."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc

import click

_HEAD = """\
# Command line

`make reference` writes this page from the commands. `stixbridge COMMAND --help` shows the same.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | done, but something needs attention: an invalid object, a kind of `--fail-on`, nothing found |
| 2 | the call, the configuration, an input or the store is wrong |
| 3 | a server does not answer, or answers with an error |
| 130 | interrupted |
"""


def render() -> str:
    """The page, in Markdown."""
    from stixbridge.cli import stixbridge
    from stixbridge.cli.commands import register

    register(stixbridge)
    return "\n".join([_HEAD, *_commands(stixbridge, "stixbridge")]).rstrip() + "\n"


def _commands(group: click.Group, way: str) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        path = f"{way} {name}"
        yield from _command(command, path)
        if isinstance(command, click.Group):
            yield from _commands(command, path)


def _command(command: click.Command, path: str) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(click.Context(command)))
    yield f"## {path.removeprefix('stixbridge ')}\n"
    yield f"```\n{path} {usage}\n```\n"
    yield f"{cleandoc(command.help or '')}\n"
    options = [item for item in command.params if isinstance(item, click.Option)]
    if options:
        yield "| option | default | meaning |"
        yield "|---|---|---|"
        for option in options:
            yield f"| {_names(option)} | {_default(option)} | {option.help or ''} |"
        yield ""


def _names(option: click.Option) -> str:
    value = "" if option.is_flag else f" {_value(option)}"
    return ", ".join(f"`{name}{value}`" for name in option.opts).replace("|", "\\|")


def _value(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices)
    return option.type.name.upper()


def _default(option: click.Option) -> str:
    if option.is_flag or option.multiple or not option.show_default:
        return ""
    return f"`{option.default}`"


if __name__ == "__main__":
    import sys

    sys.stdout.write(render())
