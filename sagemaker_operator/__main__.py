"""The program: `sagemaker-operator`, and `python -m sagemaker_operator`."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    _hold_standard_descriptors()
    if sys.argv[1:2] == ["run"]:
        # The imports below take a second, in which SIGTERM would end the process with an error, and PID 1 not at all.
        signal.signal(signal.SIGTERM, _exit)
    from sagemaker_operator.cli import main as command

    command()


def _hold_standard_descriptors() -> None:
    """Open descriptors 0 to 2 if the parent closed them: else the next file or socket gets one, and libuv aborts on it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one


def _exit(number: int, frame: FrameType | None) -> None:
    """Nothing was started, so there is nothing to stop. Not by SystemExit, which could be caught in any import."""
    os._exit(0)


if __name__ == "__main__":
    main()
