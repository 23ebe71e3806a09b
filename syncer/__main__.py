"""``python -m syncer`` and the command ``syncer``."""

from __future__ import annotations

import signal

# Ctrl-C while the program loads ends it without a word: there is nothing yet to put right.
_while_it_loads = signal.signal(signal.SIGINT, signal.SIG_DFL)

from syncer.cli import main as _main  # noqa: E402


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, _while_it_loads)
    _main()


if __name__ == "__main__":
    main()
