"""`python -m stixbridge` is the command `stixbridge`."""

from stixbridge.cli import main

main()
