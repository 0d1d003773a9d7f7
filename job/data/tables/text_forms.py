"""How numbers and dates are written in a table's texts: with a comma, with signs, day first. Imports pyarrow."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from job.data.tables.columns import TextForm

_MOSTLY = 0.9
# Signs that stand before or after a number; read without them where the column is said to hold numbers.
_SIGNS = r"[%‰€$£¥₹]|EUR|USD|GBP|CHF"
_BARE = r"[+-]?[0-9]+"
_GROUPED = r"[+-]?[0-9]{1,3}(?:[.,' \u00a0\u202f][0-9]{3})+"
_CODE = re.compile(r"0[0-9]+")
_GROUP_OF_THREE = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
_BELOW_1000 = re.compile(r"[+-]?[0-9]{1,3}")
_DIGITS_OF_A_GROUP = 3


def read_numbers(texts: pa.Array, form: TextForm) -> pa.Array:
    """Return texts as float64; raises ArrowInvalid where one is no number of this form."""
    if form.is_plain:
        return texts.cast(pa.float64())
    if form.signs:
        texts = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, _SIGNS, ""))
    groups = "" if form.thousands is None else f"|[0-9]{{1,3}}({re.escape(form.thousands)}[0-9]{{3}})+"
    pattern = rf"^[+-]?([0-9]+{groups})?({re.escape(form.decimal)}[0-9]*)?([eE][+-]?[0-9]+)?$"
    if form.thousands is None and form.decimal != ".":
        # A table may have columns of either kind; but three digits after a point may be thousands.
        pattern = rf"{pattern}|^[+-]?[0-9]*\.([0-9]{{1,2}}|[0-9]{{4,}})$"
    fits = pc.fill_null(pc.match_substring_regex(texts, pattern), fill_value=True)
    if not pc.all(fits).as_py():
        raise pa.ArrowInvalid("no number of this form")
    if form.thousands is not None:
        texts = pc.replace_substring(texts, form.thousands, "")
    return pc.replace_substring(texts, form.decimal, ".").cast(pa.float64())


def read_times(texts: pa.Array, form: TextForm) -> pa.Array:
    """Return texts as times; raises ArrowInvalid where one is no date or time of this form."""
    if form.date_format is not None:
        return pc.strptime(texts, format=form.date_format, unit="us")
    try:
        return texts.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return texts.cast(pa.timestamp("us", "UTC"))


@dataclass(frozen=True, slots=True)
class Likeness:
    """What texts look like, and the field that reads them so."""

    what: str
    advice: str


# The first that fits nearly all texts, and that none of them needs to be without.
_LIKENESSES: tuple[tuple[str, str, str, str], ...] = (
    (
        rf"(?:{_BARE})?,[0-9]+",
        _BARE,
        "numbers with a decimal comma",
        'data.decimal: "," reads them so',
    ),
    (
        rf"{_GROUPED}(?:[.,][0-9]+)?",
        rf"{_BARE}(?:[.,][0-9]+)?",
        "numbers with separators between thousands",
        "data.thousands names the separator, and data.decimal what stands before a fraction",
    ),
    (
        rf"(?:{_SIGNS})\s*[+-]?[0-9.,']+|[+-]?[0-9.,']+\s*(?:{_SIGNS})",
        rf"{_BARE}(?:[.,][0-9]+)?",
        "numbers with a sign of percent or of a currency",
        "data.columns: {NAME: {type: number}} reads them without it, data.decimal and data.thousands name others",
    ),
    (
        rf"\(\s*(?:{_GROUPED}|[0-9]+)(?:[.,][0-9]+)?\s*\)",
        rf"(?:{_GROUPED}|{_BARE})(?:[.,][0-9]+)?",
        "numbers, negative ones of them in parentheses",
        "write these with a minus sign",
    ),
    (
        r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{2,4}(?:[ T].*)?",
        r"",
        "dates with the day first",
        'data.date_format: "%d.%m.%Y" reads them so',
    ),
    (
        r"[0-9]{1,2}[/-][0-9]{1,2}[/-][0-9]{2,4}(?:[ T].*)?",
        r"",
        "dates",
        'data.date_format says which part is the day: "%d/%m/%Y" or "%m/%d/%Y"',
    ),
)


def likeness_of(name: str, texts: Iterable[str]) -> Likeness | None:
    """Return what a column's texts look like, if they are something else than categories; None if they are not.

    Args:
        name: the column's.
        texts: known ones, without space around them.
    """
    known = list(texts)
    for form, plain, what, advice in _LIKENESSES:
        fitting = sum(re.fullmatch(form, text) is not None for text in known)
        others = sum(re.fullmatch(plain, text) is not None for text in known) if plain else 0
        if fitting and fitting + others >= _MOSTLY * len(known) and fitting > others / 20:
            return Likeness(what, advice.replace("NAME", name))
    return None


def may_have_groups(texts: Iterable[str]) -> bool:
    """Whether numbers with points, such as 950 and 1.234, may as well be whole ones with points between thousands.

    Every point stands before three digits, and what has none is below 1,000, some of it of three digits: fractions that
    are written in thousandths are seldom whole.
    """
    known = list(texts)
    pointed, whole = [text for text in known if "." in text], [text for text in known if "." not in text]
    return (
        bool(pointed)
        and all(_GROUP_OF_THREE.fullmatch(text) for text in pointed)
        and all(_BELOW_1000.fullmatch(text) for text in whole)
        and any(len(text.lstrip("+-")) == _DIGITS_OF_A_GROUP for text in whole)
    )


def is_code(text: str) -> bool:
    """Whether a text of digits would lose something as a number: its leading zeros."""
    return _CODE.fullmatch(text) is not None
