"""Uploads are read from disk as they are sent: several large ones at a time take little memory."""

import os
import threading

import psutil

# 320 for the figure in docs/performance.md.
MIB = int(os.environ.get("TEST_UPLOAD_MIB", "48"))
FILES = 4


def test_large_uploads_at_a_time_take_little_memory(s3_store, tmp_path, capsys):
    """Four files in parts, on a condition, as a run's holder sends them."""
    paths = [tmp_path / f"file-{number}" for number in range(FILES)]
    for path in paths:
        with path.open("wb") as file:
            for _ in range(MIB):
                file.write(os.urandom(1 << 20))
    # What the first upload makes once: connections, threads, the probe.
    s3_store.put_file_if("first", paths[0], None)
    process, peak = psutil.Process(), 0
    before = process.memory_info().rss
    uploads = [threading.Thread(target=s3_store.put_file_if, args=(path.name, path, None)) for path in paths]
    for upload in uploads:
        upload.start()
    while any(upload.is_alive() for upload in uploads):
        peak = max(peak, process.memory_info().rss - before)
        uploads[0].join(0.02)
    with capsys.disabled():
        print(f"\n{FILES} files of {MIB} MiB: {peak >> 20} MiB more than before")  # noqa: T201 - the figure
    assert peak < 100 << 20
    assert {entry.key: entry.size for entry in s3_store.list("file")} == {path.name: MIB << 20 for path in paths}
