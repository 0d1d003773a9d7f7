"""Cron's five fields, as GitHub and Kubernetes read them."""

import re

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 6))
_NAMES = {name: str(number) for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}
_NAMES |= {
    name: str(number)
    for number, name in enumerate(
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], start=1
    )
}
_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")


def problem_of_cron(expression: str) -> str | None:
    """What is wrong with a schedule; None if nothing is."""
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        return f"{len(fields)} fields instead of {len(_FIELDS)}"
    for value, (name, least, most) in zip(fields, _FIELDS, strict=True):
        for part in value.split(","):
            match = _PART.fullmatch(re.sub(r"[A-Z]{3}", lambda found: _NAMES.get(found.group(), "?"), part.upper()))
            if match is None:
                return f"the {name} {part} is not a number, a range, a step or *"
            first, last = (None if number is None else int(number) for number in match.groups()[:2])
            if first is not None and not least <= first <= (most if last is None else last) <= most:
                return f"the {name} {part} is not between {least} and {most}"
    return None
