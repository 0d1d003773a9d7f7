"""The user's own code: fetched once, checked, loaded under a name of its own, and blamed by file and line."""

from job.own_code.blame import Place, blaming, describe, describe_at, place_of
from job.own_code.contained import run_contained
from job.own_code.fetch import fetch_code
from job.own_code.loading import load_module, load_object, objects_by_name
from job.own_code.own_code import CodeSource, OwnCode, Section, code_error

__all__ = [
    "CodeSource",
    "OwnCode",
    "Place",
    "Section",
    "blaming",
    "code_error",
    "describe",
    "describe_at",
    "fetch_code",
    "load_module",
    "load_object",
    "objects_by_name",
    "place_of",
    "run_contained",
]
