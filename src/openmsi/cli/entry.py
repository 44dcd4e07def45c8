"""What every console script does around its work."""

from __future__ import annotations

import io
import sys
import traceback
import warnings
from collections.abc import Callable

from openmsi.cli.options import debugging
from openmsi.errors import OpenMSIError

INTERRUPTED = 130


def guarded(name: str, run: Callable[[], object]) -> None:
    """Run it: every error becomes a message that begins with `name`, and a documented exit code."""
    for stream in (sys.stdout, sys.stderr):
        # File names know no locale: they are written as UTF-8, whatever a pipe pretends to be.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    # watchdog says so when directories appear while it looks; the scan finds them all the same.
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
    try:
        run()
    except OpenMSIError as error:
        if debugging():
            traceback.print_exc()
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads our output any more: nothing to say
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debugging():
            raise
        print(f"{name}: an error of openmsi itself: {error!r}", file=sys.stderr)
        if name == "openmsi":
            print("  The same command with --debug shows where.", file=sys.stderr)
        print("  Please report it.", file=sys.stderr)
        sys.exit(OpenMSIError.exit_code)
