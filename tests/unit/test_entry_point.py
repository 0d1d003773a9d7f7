"""The process before the command line is read."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 30
SIGTERM_BIT = 1 << (signal.SIGTERM - 1)


def catches_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (caught,) = [line.split()[1] for line in lines if line.startswith("SigCgt:")]
    return bool(int(caught, 16) & SIGTERM_BIT)


def test_a_command_that_has_no_default_action_for_sigterm_ends_all_the_same():
    """Process 1 of a container ignores the signal unless it has a handler: every command has, from its first moment."""
    # It waits for the document; ignored signals stay so in the new program, which is as near as can be without root.
    command = [sys.executable, "-m", "job", "validate", "--spec", "-"]
    process = subprocess.Popen(
        command,
        env=os.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),  # noqa: PLW1509 - nothing else keeps it ignored
    )
    with process:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not catches_sigterm(process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
    assert code == 128 + signal.SIGTERM
