"""`python -m megalabel` is the command line."""

from megalabel.cli.start import main

if __name__ == "__main__":
    main()
