"""`python -m stixbridge` is the command `stixbridge`."""

from .cli import main

main()
