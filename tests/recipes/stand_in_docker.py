"""What stands in for `docker` where no engine is: the container is a process, and the image is this work tree.

It takes the command lines that the workflow gives it: `run --detach` starts the real job with the variables that
`--env` names and with the file that is mounted as its termination log; `logs --follow` waits for it; `wait` prints its
exit code.
With `STAND_IN_CODES` the container does nothing but end with the codes that are listed there, one after the other.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN_FOLDER"])
VALUED = {"--name", "--user", "--volume", "--env", "--cap-drop", "--security-opt", "--shm-size", "--stop-timeout"}
VALUED |= {"--gpus"}
# A process that outlives this one, to wait for the job as the engine does.
KEEPER = """
import subprocess, sys
from pathlib import Path
folder = Path(sys.argv[1])
with (folder / "container-output").open("w") as output:
    job = subprocess.Popen(sys.argv[2:], stdout=output, stderr=output)
(folder / "pid").write_text(str(job.pid))
code = job.wait()
(folder / "code").write_text(str(code if code >= 0 else 128 - code))
"""


def main(arguments: list[str]) -> int:
    """Do what one `docker` command line says."""
    with (FOLDER / "docker-calls.jsonl").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    if arguments[:2] == ["run", "--detach"]:
        return run(arguments[2:])
    if arguments[0] == "logs":
        code()
        sys.stdout.write((FOLDER / "container-output").read_text())
    elif arguments[0] == "wait":
        print(code())  # noqa: T201 - what `docker wait` does
    elif arguments[0] == "stop":
        os.kill(int((FOLDER / "pid").read_text()), signal.SIGTERM)
    elif arguments[0] == "image":
        print("ghcr.io/example/tuning-job@sha256:0123")  # noqa: T201
    return 0


def run(arguments: list[str]) -> int:
    """Start the container."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"], "JOB_SCRATCH": str(FOLDER / "s")}
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        value = arguments.pop(0) if option in VALUED else ""
        if option == "--env" and value in os.environ:
            environment[value] = os.environ[value]
        elif option == "--volume" and value.endswith(":/dev/termination-log"):
            environment["JOB_TERMINATION_LOG"] = value.split(":")[0]
    command = [sys.executable, "-m", "job", *arguments[1:]]
    if codes := os.environ.get("STAND_IN_CODES", "").split():
        started = FOLDER / "started"
        count = int(started.read_text()) if started.exists() else 0
        started.write_text(str(count + 1))
        command = ["sh", "-c", f"exit {codes[count]}"]
    (FOLDER / "code").unlink(missing_ok=True)
    subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(FOLDER), *command],
        env=environment,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return 0


def code() -> str:
    """The exit code of the container, once it has ended."""
    while not (FOLDER / "code").exists() or not (FOLDER / "code").read_text():
        time.sleep(0.05)
    return (FOLDER / "code").read_text()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
