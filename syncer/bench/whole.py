"""A program from its start to its exit: ``python -m syncer.bench.whole MODULE ARGUMENTS``.

The module is run as ``python -m MODULE ARGUMENTS`` would; when it ends, the last line of the
output is the most memory that the process held, in bytes. It imports nothing that the program
might not.
"""

from __future__ import annotations

import runpy
import sys


def peak_memory() -> int:
    """Return the most memory that this process held, in bytes (Linux)."""
    # Not getrusage: its figure includes what the parent held when it forked.
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  (imports nothing)
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise OSError("no VmHWM in /proc/self/status")


def main() -> None:
    """Run the module that the arguments name; its exit code is that of the process."""
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        sys.stdout.write(f"\n{peak_memory()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
