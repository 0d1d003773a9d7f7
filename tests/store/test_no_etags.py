"""A server that leaves out ETags, as JuiceFS's gateway does unless it is told to keep them: told, and what helps."""

import pytest

from job.cli import main
from job.errors import AccessError
from job.store import open_store


def test_a_server_without_etags_is_refused_with_advice(bucket_without_etags, capsys):
    """Exit code 15 from every command that would depend on them, `validate --check-access` among them; no traceback."""
    store = open_store(f"s3://{bucket_without_etags}/folder")
    store.put("one", b"1")
    for look in (store.get, store.stat):
        with pytest.raises(AccessError, match="without an ETag") as refused:
            look("one")
        assert "--keep-etag" in str(refused.value.advice)
    output = f"output=s3://{bucket_without_etags}/tuning"
    for command in (["validate", "--check-access"], ["run", "--run-id", "one"]):
        assert main([*command, "--set", output], {}) == 15
        said = capsys.readouterr()
        assert "without an ETag" in said.out + said.err
        assert "Traceback" not in said.out + said.err
