"""Editing JSON as text: the value is right, and no other byte has changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.fleet import jsontext

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
STYLES = st.sampled_from([{"indent": 2}, {"indent": 4}, {"indent": "\t"}, {"separators": (",", ":")}, {}])


@given(VALUES, STYLES)
def test_it_reads_what_json_reads(value: Any, style: dict[str, Any]) -> None:
    text = f" {json.dumps(value, **style)}\n"
    assert jsontext.parse(text).value == value


@given(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=4), STYLES, VALUES)
def test_what_was_inserted_can_be_removed(document: dict[str, Any], style: dict[str, Any], value: Any) -> None:
    document.pop("new", None)
    text = json.dumps(document, ensure_ascii=False, **style) + "\n"
    more = jsontext.insert(text, jsontext.parse(text), value, "new")
    root = jsontext.parse(more)
    assert root.value == {**document, "new": value}
    assert list(root.value) == [*document, "new"]
    member = root.member("new")
    assert member
    assert jsontext.remove(more, root, member) == text


@given(st.lists(VALUES, max_size=4), STYLES, st.data())
def test_items_of_arrays(values: list[Any], style: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps({"a": values, "b": 1}, **style)
    array = jsontext.parse(text).items[0]
    more = jsontext.insert(text, array, {"x": 1})
    assert json.loads(more) == {"a": [*values, {"x": 1}], "b": 1}
    array = jsontext.parse(more).items[0]
    number = data.draw(st.integers(0, len(values)))
    less = jsontext.remove(more, array, array.items[number])
    kept = [*values, {"x": 1}]
    del kept[number]
    assert json.loads(less) == {"a": kept, "b": 1}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "}", '{"a":1,}', "{a:1}", '{"a" 1}', '{"a":1 "b":2}', "[1 2]", "[1,]", "nope", "NaN", "01", "1.", '"a',
        '{"a":1} // why', '// why\n{"a":1}', '{"a":1,"a":2}', '{"x":{"a":1,"a":2}}', "'a'", '"tab\there"', "[" * 200,
        "\ufeff{}",
    ],
)  # fmt: skip
def test_what_is_not_plain_json(text: str) -> None:
    with pytest.raises(ValueError):
        jsontext.parse(text)


def test_other_bytes_stay() -> None:
    text = '{\n   "a" : [1.0,  1e5, "\\u00e9"],\n\n   "hooks": {"Stop": [ {"x":1} ]}\n}'
    root = jsontext.parse(text)
    hooks = root.member("hooks")
    stop = hooks and hooks.member("Stop")
    assert stop
    assert jsontext.insert(text, stop, {"y": 2}) == text.replace('{"x":1} ]', '{"x":1}, {"y": 2} ]')
