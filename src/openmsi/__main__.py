"""The console script `openmsi`, and `python -m openmsi`."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line, and exit."""
    # Modules stay: looking for garbage among them is a quarter of a command's start.
    gc.disable()
    from openmsi.cli import named_app
    from openmsi.cli.entry import guarded

    app = named_app(sys.argv[1:])
    gc.freeze()
    gc.enable()
    guarded("openmsi", app)  # exits by itself, also after a usage error


if __name__ == "__main__":
    main()
