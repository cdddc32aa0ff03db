"""The command ``polyhead``: the whole command line, out of the extension module."""

from __future__ import annotations

import signal
import sys

from ._polyhead import run_command


def main() -> int:
    """Runs the command line of this process and returns its exit code."""
    # Python's handler would only note Ctrl-C for later. The command has its own, or ends as programs do.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return run_command(sys.argv)
