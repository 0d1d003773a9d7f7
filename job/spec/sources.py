"""What kind of source a spec names, by its format or its name. Pure: nothing is opened."""

from typing import Literal

from job.spec.code import installed_function
from job.spec.datasets import DATASETS
from job.spec.sections import DataSpec

SourceKind = Literal["builtin", "npz", "csv", "parquet", "images", "tfrecord", "python"]

# Tables: rows of named columns.
TABLE_KINDS: frozenset[SourceKind] = frozenset({"csv", "parquet"})

# What a folder or prefix may hold.
FOLDER_KINDS: frozenset[SourceKind] = TABLE_KINDS | {"images", "tfrecord"}

# By how the name ends, in small letters.
_SUFFIXES: dict[str, SourceKind] = {
    ".npz": "npz",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
    ".tfrecord": "tfrecord",
    ".tfrecord.gz": "tfrecord",
    ".py": "python",
}

SUFFIXES_IN_WORDS = ".npz, .csv, .parquet, .tfrecord or .py"

KINDS_IN_WORDS: dict[SourceKind, str] = {
    "builtin": "the name of a built-in data set",
    "npz": "an .npz file as a path or s3:// URL",
    "csv": "a .csv or .csv.gz file as a path or s3:// URL, or a folder of such with data.format: csv",
    "parquet": "a .parquet file as a path or s3:// URL, or a folder of such with data.format: parquet",
    "images": "a folder of class folders, with data.format: images",
    "tfrecord": "a .tfrecord file as a path or s3:// URL, or a folder of such with data.format: tfrecord",
    "python": "a .py file as a path or s3:// URL, or package.module:function of an installed package",
}


def source_kind(data: DataSpec) -> SourceKind | None:
    """What `data.source` is; None where neither `data.format` nor the name says it.

    A folder's name never says it: `data.format` does.
    """
    return kind_of(data.source, data.format)


def kind_of(source: str, stated: SourceKind | Literal["auto"] = "auto") -> SourceKind | None:
    """What a source is; see `source_kind`.

    Args:
        source: a name, path or URL.
        stated: the spec's `data.format`.
    """
    if stated != "auto":
        return stated
    if source in DATASETS:
        return "builtin"
    if installed_function(source) is not None:
        return "python"
    name = source.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)


def names_folder(source: str) -> bool:
    """Whether a source's name is that of a folder or prefix rather than of one file: it has no file's ending."""
    return source not in DATASETS and kind_of(source) is None
