"""Cron's five fields, as GitHub and Kubernetes read them."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Long enough to meet a 29 February.
_DAYS_AHEAD = 8 * 366
_SOME_DAY = dt.date(2024, 1, 1)


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


def problem_of_cron(line: str) -> str | None:
    """What is wrong with a schedule; None if nothing is."""
    try:
        starts = parse_cron(line).starts()
    except ValueError as error:
        return str(error)
    return None if next(starts, None) is not None else f"{line!r} never comes"
