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

    Quoted text is part of one word; what is substituted into a command or into quoted text is a command of its own.
    """
    text = _FUNCTION.sub("", joined(script))
    # First the comments, which may have apostrophes.
    text = re.sub(r"(?m)(^|\s)#\s.*$", "", text)
    text = re.sub(r"\$\(\([^)]*\)\)", "0", text)
    quoted: list[str] = []
    substituted: list[str] = []
    text = _without_quotes(text, quoted, substituted)
    for inner in substituted:
        yield from commands(inner)
    # The pattern of a `case`: a parenthesis that was never opened.
    text = re.sub(r"(?m)^[^()\n]*\)", "", text)
    # An array's words are no command's.
    text = re.sub(r"(\w+\+?=)\([^)]*\)", rf"\1{_PLACEHOLDER}", text)
    for piece in _SEPARATORS.split(text):
        words = _words(piece)
        if words:
            yield [re.sub(r"@(\d+)@", lambda match: quoted[int(match.group(1))], word) for word in words]


def _without_quotes(text: str, quoted: list[str], substituted: list[str]) -> str:
    """The text with a mark `@n@` for each quoted part, which is then `quoted[n]`, and without substitutions."""
    kept = ""
    position = 0
    while position < len(text):
        if text.startswith("$(", position):
            end = _closing(text, position + 2)
            substituted.append(text[position + 2 : end])
            kept += _PLACEHOLDER
            position = end + 1
        elif text[position] in "'\"":
            end = _end_of_quote(text, position)
            inside = text[position + 1 : end]
            if text[position] == '"':
                inside = _without_substitutions(inside, substituted)
            quoted.append(inside)
            kept += f"@{len(quoted) - 1}@"
            position = end + 1
        else:
            kept += text[position]
            position += 1
    return kept


def _without_substitutions(text: str, substituted: list[str]) -> str:
    kept, position = "", 0
    while (found := text.find("$(", position)) >= 0:
        end = _closing(text, found + 2)
        substituted.append(text[found + 2 : end])
        kept += text[position:found] + _PLACEHOLDER
        position = end + 1
    return kept + text[position:]


def _closing(text: str, position: int) -> int:
    """Where the parenthesis closes that was opened right before `position`."""
    depth = 1
    while position < len(text):
        if text[position] in "'\"":
            position = _end_of_quote(text, position)
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            break
        position += 1
    return position


def _end_of_quote(text: str, start: int) -> int:
    """Where the quote ends that begins at `start`; the text's end where it never does."""
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        if text[start] == '"' and text.startswith("$(", position):
            position = _closing(text, position + 2)
        elif text[start] == '"' and text[position] == "\\":
            position += 1
        position += 1
    return min(position, len(text))


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
