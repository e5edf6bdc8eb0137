"""`python -m megalabel` is the command line, with the search path that the script `megalabel` has."""

import os
import sys

# `python -m` puts the working folder first, where any file could replace a module that is imported from here on.
# `--trust` makes it importable for either form of the command.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from megalabel.cli.start import main

if __name__ == "__main__":
    main()
