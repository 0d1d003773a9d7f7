"""What tests understand of shell scripts, which everything about workflows and documents rests on."""

import pytest
from recipes.scripts import commands, functions, leading_assignments


@pytest.mark.parametrize(
    ("script", "programs"),
    [
        ("a x | b y && c; d || e", ["a", "b", "c", "d", "e"]),
        ("A=1 B='x y' a", ["a"]),
        ("a \\\n  --long \\\n  words", ["a"]),
        ("# don't\na  # isn't it\nb", ["a", "b"]),
        ('a "it\'s $(b "$(c)")" | d', ["c", "b", "a", "d"]),
        ("a 'x | y; z' \"u && v\"", ["a"]),
        ("if a; then b; elif c; then d; else e; fi", ["a", "b", "c", "d", "e"]),
        ('case "$X" in\n  1 | 2) a ;;\n  *) b ;;\nesac', ["a", "b"]),
        ("for x in 1 2; do\n  a\ndone", ["a"]),
        ("while [ -z x ]; do a; done", ["[", "a"]),
        ("f() {\n  a\n}\nf", ["a", "f"]),
        ("x=(one two)\nx+=(three)\na", ["a"]),
        ("a > file 2>&1\nb <<< text", ["a", "b"]),
        ('[ "$((n += 1))" -ge 3 ]', ["["]),
    ],
)
def test_every_program_of_a_script_is_found(script, programs):
    """In pipes, lists, conditions, loops, functions and substitutions; not in quotes and comments."""
    assert [words[0] for words in commands(script)] == programs


def test_quoted_words_stay_whole():
    """Quotes are taken off, and what they held is a part of one word."""
    assert list(commands("a --x='1 2'y \"b c\" > file")) == [["a", "--x=1 2y", "b c"]]


def test_functions_and_assignments_are_found():
    """What a script defines is no unknown program; what it exports is known."""
    assert functions("f() {\n  a\n}\n") == {"f"}
    assert leading_assignments("export A=1 B='x y'") == {"A": "1", "B": "x y"}
