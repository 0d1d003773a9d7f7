"""Text without secrets: those of a form, and those that the environment names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.redaction import REDACTED, learn_secrets, redact, redact_text, redact_texts, show


@pytest.fixture(autouse=True)
def _forgotten():
    """No test leaves its secrets to the next."""
    yield
    learn_secrets({})


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("cannot reach http://user:pa/ss@host:9000/bucket", "pa/ss"),
        ("http://user:pa@ss@host", "pa@ss"),
        ("http://user:p?a#s@host", "p?a#s"),
        ("https://token@github.com/x.git", "token"),
        ("postgres://me:hunter2@db/x", "hunter2"),
        ("https://host/data.npz?sig=abc&se=2026", "abc"),
        ("s3://bucket/key?X-Amz-Signature=deadbeef", "deadbeef"),
        ("X-Amz-Credential=AKIDEXAMPLE/20260101", "AKIDEXAMPLE"),
        ("key AKIAIOSFODNN7EXAMPLE was refused", "AKIAIOSFODNN7EXAMPLE"),
    ],
)
def test_secrets_of_a_form_are_replaced(text, secret):
    """Users and queries of URLs, signatures and access keys, whatever characters a password has."""
    assert secret not in redact_text(text)
    assert REDACTED in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:9000/bucket/a@b",
        "s3://models/tuning/nightly/runs/20260131T030000Z-4f2a/model/model.keras",
        "s3://bucket/folder/a@b.npz",
        "write to me@example.org",
        "is it there? https://keras.io/guides/ says so",
    ],
)
def test_what_is_none_stays(text):
    """Addresses, keys with an @ and plain words are shown."""
    assert redact_text(text) == text


@pytest.mark.parametrize("name", ["MY_SECRET", "db_password", "HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"])
def test_what_a_variable_holds_is_replaced_wherever_it_appears(name):
    """In text, in lists and mappings, as a key, printed by repr, in JSON and in a URL."""
    value = "s3cr'et/va\\lue+"
    learn_secrets({name: value, "HOME": "/home/somebody"})
    for said in (value, repr({name: value}), json.dumps([value]), "x=s3cr%27et%2Fva%5Clue%2B&home=/home/somebody"):
        assert "s3cr" not in redact_text(f"before {said} after")
    assert "s3cr" not in str(redact_texts({"a": [value, {value: (value,)}]}))
    assert redact_text("/home/somebody") == "/home/somebody"


def test_words_are_no_secrets():
    """Short values and words that stand for other things are left, or nothing could be read."""
    learn_secrets({"TOKENIZERS_PARALLELISM": "false", "KEYBOARD": "us", "API_KEY": "", "USE_TOKEN": "disabled"})
    assert redact_text("false us disabled") == "false us disabled"


def test_a_private_key_is_replaced_line_by_line():
    """Its lines come one by one where a program prints it."""
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "-----END PRIVATE KEY-----"]
    learn_secrets({"TLS_PRIVATE_KEY": "\n".join(lines)})
    for text in (*lines, "\n".join(lines)):
        assert redact_text(text) == REDACTED


@given(st.text(min_size=6).filter(str.strip), st.text(), st.text())
def test_no_value_survives(value, before, after):
    """Any value of at least 6 characters is gone, wherever it stands."""
    learn_secrets({"SOME_SECRET": value})
    secret = value.strip()
    if len(secret) >= 6 and secret not in REDACTED:
        assert secret not in redact_text(f"{before}\x00{secret}\x00{after}")


def test_tags_are_shown_in_no_message():
    """What stands under `storage.tags` may be anything."""
    assert show({"owner": "x"}, ("storage", "tags")) == REDACTED
    assert show("x", ("storage", "tags", "owner")) == REDACTED
    assert redact({"storage": {"tags": {"owner": "x"}}}) == {"storage": {"tags": REDACTED}}
