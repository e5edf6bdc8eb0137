"""`python -m megalabel` is the command line."""

from megalabel.cli.main import main

main()
