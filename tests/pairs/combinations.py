"""A covering array: rows of features in which every pair of values that may go together does so at least once."""

import itertools
from collections.abc import Mapping
from typing import Any

from pairs.own_models import KINDS
from pairs.sources import SOURCES

FACTORS: dict[str, tuple[Any, ...]] = {
    "source": tuple(SOURCES),
    "model": ("built_in", *KINDS),
    "folds": (None, 3),
    "executions": (1, 2),
    "class_weight": ("none", "balanced"),
    "patience": (None, 1),
    "retrain_on": ("train", "train_and_validation"),
    "export": (None, "saved_model", "onnx"),
    "algorithm": ("random", "hyperband", "grid", "bayesian"),
}
_OF_CLASSES = ("arrays", "words", "table", "photos", "records", "weighted")
_OWN_ONLY = ("words", "one_hot", "nested")


def contradiction(row: Mapping[str, Any]) -> str | None:
    """Why a row, or the beginning of one, is no job: what the documentation excludes; None where it is one."""
    source, model = row.get("source"), row.get("model")
    if model == "built_in" and source in _OWN_ONLY:
        return "takes a model of one's own"
    if row.get("class_weight") == "balanced" and source not in _OF_CLASSES:
        return "class weights are for classes"
    if row.get("folds") is not None and row.get("retrain_on") == "train":
        return "folds leave no validation rows to choose between models by"
    if source == "words" and row.get("export") == "onnx":
        return "ONNX lacks the operations of text"
    return None


def possible_pairs() -> set[frozenset[tuple[str, Any]]]:
    """Every pair of values of two factors that may go together."""
    return {
        frozenset(pair.items())
        for one, other in itertools.combinations(FACTORS, 2)
        for values in itertools.product(FACTORS[one], FACTORS[other])
        if contradiction(pair := dict(zip((one, other), values, strict=True))) is None
    }


def combinations() -> list[dict[str, Any]]:
    """Rows that cover every possible pair: each begins with one that is missing, and takes in as many as it can.

    The greedy construction of AETG (Cohen et al. 1997), for contradictions that concern two factors each.
    """
    missing, rows = possible_pairs(), []
    while missing:
        row = dict(min(missing, key=lambda pair: sorted(map(repr, pair))))
        for factor in (name for name in FACTORS if name not in row):
            fitting = [value for value in FACTORS[factor] if contradiction(row | {factor: value}) is None]
            row[factor] = max(fitting, key=lambda value: len(missing & _pairs_of(row | {factor: value}, factor)))
        missing -= _pairs_of(row)
        rows.append({name: row[name] for name in FACTORS})
    return rows


def _pairs_of(row: Mapping[str, Any], factor: str | None = None) -> set[frozenset[tuple[str, Any]]]:
    """The pairs of a row; with a factor those that it is one of."""
    pairs = itertools.combinations(row.items(), 2)
    return {frozenset(pair) for pair in pairs if factor is None or factor in {name for name, _ in pair}}


def name_of(row: Mapping[str, Any]) -> str:
    """A row as the name of a test."""
    return "-".join(str(value) for value in row.values())
