"""Shell scripts and command lines, read as far as tests need: which programs they call, and with what arguments."""

import re
import shlex
from collections.abc import Iterator

_KEYWORDS = {"if", "then", "elif", "else", "fi", "while", "until", "do", "done", "esac", "{", "}", "!", "time"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(\[[^]]*\])?\+?=")
_SEPARATORS = re.compile(r"\|\||&&|;;|;|\||\n")
_FUNCTION = re.compile(r"^\s*(\w+)\(\)\s*\{", re.MULTILINE)
_PLACEHOLDER = "VALUE"


def joined(script: str) -> str:
    """A script with its continued lines made whole."""
    return re.sub(r"\\\n\s*", " ", script)


def functions(script: str) -> set[str]:
    """The functions that a script defines."""
    return set(_FUNCTION.findall(script))


def commands(script: str) -> Iterator[list[str]]:
    """The words of every simple command, the program first, wherever in the script it is.

    Quoted text becomes one word; what is substituted into it is a command of its own.
    """
    text = _FUNCTION.sub("", joined(script))
    quoted: list[str] = []

    def keep(match: re.Match[str]) -> str:
        quoted.append(match.group(0)[1:-1])
        return f"@{len(quoted) - 1}@"

    # First the comments, which may have apostrophes.
    text = re.sub(r"(?m)(^|\s)#\s.*$", "", text)
    text = re.sub(r"'[^']*'", keep, text)
    text = re.sub(r"\$\(\([^)]*\)\)", "0", text)
    inner = re.compile(r"\$\(([^()]*)\)")
    while found := inner.search(text):
        yield from _simple(found.group(1), quoted)
        text = text[: found.start()] + _PLACEHOLDER + text[found.end() :]
    yield from _simple(text, quoted)


def _simple(text: str, quoted: list[str]) -> Iterator[list[str]]:
    text = re.sub(r'"([^"]*)"', lambda match: _kept(match.group(1), quoted), text)
    # The pattern of a `case`: a parenthesis that was never opened.
    text = re.sub(r"(?m)^[^()\n]*\)", "", text)
    # An array's words are no command's.
    text = re.sub(r"(\w+\+?=)\([^)]*\)", rf"\1{_PLACEHOLDER}", text)
    for piece in _SEPARATORS.split(text):
        words = _words(piece)
        if words:
            yield [re.sub(r"@(\d+)@", lambda match: quoted[int(match.group(1))], word) for word in words]


def _kept(text: str, quoted: list[str]) -> str:
    quoted.append(text)
    return f"@{len(quoted) - 1}@"


def _words(piece: str) -> list[str]:
    words = _without_redirections(piece.split())
    while words and words[0] in _KEYWORDS:
        words = words[1:]
    if words and words[0] in {"for", "case", "in"}:
        return []
    while words and _ASSIGNMENT.match(words[0]):
        words = words[1:]
    return words


def _without_redirections(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif re.fullmatch(r"\d?(<<<|>>|>|<)(&\d)?", word):
            skip = not word.endswith(("1", "2"))
        elif not re.match(r"\d?(<<<|>>|>|<)\S", word):
            kept.append(word)
    return kept


def leading_assignments(line: str) -> dict[str, str]:
    """The variables that a command line sets for its first command, or exports."""
    words = shlex.split(line)
    if words and words[0] == "export":
        words = words[1:]
    found = {}
    for word in words:
        if not _ASSIGNMENT.match(word):
            break
        name, _, value = word.partition("=")
        found[name] = value
    return found
