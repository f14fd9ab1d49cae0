"""The command line. commands.py says what can be typed, the other files do it; people get sentences, scripts get
`--json` and exit codes.

Exit codes: 0 fine, 1 it ran and something failed (a document, a check), 2 it could not run (settings, database),
130 or 143 stopped by a signal.
"""

import sys

STOPPED = 130


def main() -> None:
    try:
        from app.cli.commands import app

        app()
    except KeyboardInterrupt:  # while modules are imported; later it is the command's
        sys.exit(STOPPED)
