"""Templates hold names of members and nothing that is executed."""

from __future__ import annotations

import pytest

from trivec.errors import InvalidOptionError
from trivec.ingestion.sources.template import Template, unescaped


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{title}", "T"),
        ("{title}{title} {a.b}", "TT AB"),
        ("{{title}} {title}", "{title} T"),
        ("{{{title}}}", "{T}"),
        ("{two words}: {-x}", "W: X"),
        ("{missing}{title}", "T"),
    ],
)
def test_names_are_replaced(template: str, text: str) -> None:
    texts = {"title": "T", "a.b": "AB", "two words": "W", "-x": "X"}
    assert Template.parse(template).fill(texts) == text


def test_texts_are_not_templates() -> None:
    assert (
        Template.parse("{text}").fill({"text": "{title} {0.__class__}"}) == "{title} {0.__class__}"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("no member", "names no member"),
        ("", "names no member"),
        ("{{title}}", "names no member"),
        ("{}", "expected the name of a member in braces"),
        ("{ }", "expected the name"),
        ("{title!r}", "got {title!r}"),
        ("{title:>10}", "got {title:>10}"),
        ("{title:{width}}", "got {title:{width}}"),
        ("{title[0]}", r"got {title[0]}"),
        ("{title", "expected '}' before end of string"),
        ("title}", "a brace that is a character is written twice"),
        ("{", "a brace that is a character is written twice"),
    ],
)
def test_what_is_no_name_is_refused(template: str, message: str) -> None:
    with pytest.raises(InvalidOptionError) as error:
        Template.parse(template)
    assert message in str(error.value)


def test_attributes_are_names_of_members() -> None:
    """A dot leads into objects of the record, and never to attributes of Python's objects."""
    assert Template.parse("{text.__class__}").fill({"text": "x"}) == ""


def test_shells_can_say_newlines() -> None:
    assert unescaped(r"{a}\n\t{b}\\n") == "{a}\n\t{b}\\n"
    assert unescaped(r"\d") == r"\d"
