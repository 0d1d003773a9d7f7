"""Values that Kubernetes reads from text: quantities, cron lines, images."""

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_FACTORS = {
    suffix: Fraction(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
}
_FACTORS |= {
    suffix: Fraction(1000) ** power for power, suffix in enumerate(("n", "u", "m", "", "k", "M", "G"), start=-3)
}
_FACTORS |= {"T": Fraction(10) ** 12, "P": Fraction(10) ** 15, "E": Fraction(10) ** 18}

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Long enough to meet a 29 February.
_DAYS_AHEAD = 8 * 366
_SOME_DAY = dt.date(2024, 1, 1)


def quantity(written: object) -> Fraction:
    """The number that a quantity means.

    Raises:
        ValueError: it is none.
    """
    match = _QUANTITY.fullmatch(str(written))
    if match is None or isinstance(written, bool):
        raise ValueError(f"{written!r} is no quantity")
    number, suffix = match.groups(default="")
    if suffix in _FACTORS:
        return Fraction(number) * _FACTORS[suffix]
    return Fraction(number) * Fraction(10) ** int(suffix[1:])


@dataclass(frozen=True)
class Cron:
    """A parsed cron line; the fields are the values that match, and whether a day field says `*`."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def starts(self) -> Iterator[dt.datetime]:
        """The starts of the next eight years, without a time zone."""
        times = [dt.time(hour, minute) for hour in sorted(self.hours) for minute in sorted(self.minutes)]
        for number in range(_DAYS_AHEAD):
            day = _SOME_DAY + dt.timedelta(days=number)
            if self._matches(day):
                yield from (dt.datetime.combine(day, time) for time in times)

    def _matches(self, day: dt.date) -> bool:
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        # cron's oldest oddity: two day fields that are both restricted are joined by `or`.
        either = by_day and by_weekday if self.any_day or self.any_weekday else by_day or by_weekday
        return day.month in self.months and either


def parse_cron(line: str) -> Cron:
    """Read five fields as Kubernetes does.

    Raises:
        ValueError: the line is none that Kubernetes takes, or the macro `@every`.
    """
    fields = line.split()
    if len(fields) != 5:
        raise ValueError(f"{line!r} has {len(fields)} fields instead of minute, hour, day, month, weekday")
    minute, hour, day, month, weekday = fields
    return Cron(
        minutes=_values(minute, 0, 59),
        hours=_values(hour, 0, 23),
        days=_values(day, 1, 31),
        months=_values(month, 1, 12, _MONTHS, names_from=1),
        weekdays=_values(weekday, 0, 6, _WEEKDAYS),
        any_day=day[0] in "*?",
        any_weekday=weekday[0] in "*?",
    )


def _values(field: str, low: int, high: int, names: tuple[str, ...] = (), names_from: int = 0) -> frozenset[int]:
    numbers = {name: number for number, name in enumerate(names, start=names_from)}

    def number(written: str) -> int:
        value = numbers.get(written.lower())
        if value is None:
            if not written.isdecimal():
                raise ValueError(f"{written!r} in {field!r} is no number")
            value = int(written)
        if not low <= value <= high:
            raise ValueError(f"{written!r} in {field!r} is not within {low} to {high}")
        return value

    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in {"*", "?"}:
            first, last = low, high
        elif "-" in span:
            first, last = (number(end) for end in span.split("-", 1))
        else:
            first = number(span)
            last = high if step else first
        if first > last or (step and (not step.isdecimal() or int(step) == 0)):
            raise ValueError(f"{part!r} in {field!r} is no range")
        found.update(range(first, last + 1, int(step) if step else 1))
    return frozenset(found)


def image_parts(image: str) -> tuple[str, str]:
    """Name and tag of an image; the tag is `@sha256:…` where there is a digest alone, and empty without either."""
    rest, at, digest = image.partition("@")
    folder, slash, last = rest.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{folder}{slash}{name}", tag or f"{at}{digest}"
