"""Whatever a signed-in browser sends, a page or an action answers in words: never a 5xx."""

import re
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from claire.ui.web import ACTS, PAGES
from tests.ui.web.conftest import Site

QUERY = ["q", "status", "state", "host", "group", "view", "about", "kind", "span", "before", "to", "gone"]
FORM = [
    "name", "goal", "owner", "status", "deleted", "title", "description", "priority", "project", "session", "text",
    "blocker", "noun", "id", "field", "event", "to", "raw", "seen", "once", "pattern",
]  # fmt: skip
TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "done", "yes", "task", "apricot:gateway-429", "billing", "api-gateway", "docs", "title", "9" * 5000]
    ),
)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def address(path: str, id_: str) -> str:
    return quote(re.sub(r"{.*?}", lambda _: id_ or "x", path), safe="/")


@example("/log", "", {"before": "9" * 5000})
@FUZZ
@given(st.sampled_from([path for path, _, _ in PAGES]), TEXT, st.dictionaries(st.sampled_from(QUERY), TEXT, max_size=4))
def test_pages_answer_whatever_is_asked(site: Site, path: str, id_: str, query: dict[str, str]) -> None:
    status, text = site.get(f"{address(path, id_)}?{urlencode(query, errors='surrogatepass')}")
    assert status in (200, 404, 400), text
    assert "Something failed inside" not in text


@example("/tasks/{id}", "", {"priority": "9" * 5000})
@FUZZ
@given(st.sampled_from([path for path, _ in ACTS]), TEXT, st.dictionaries(st.sampled_from(FORM), TEXT, max_size=6))
def test_actions_answer_whatever_they_are_told(site: Site, path: str, id_: str, form: dict[str, str]) -> None:
    tasks = site.one("SELECT id FROM tasks LIMIT 1") if "tasks" in path else site.one("SELECT id FROM projects LIMIT 1")
    for target in (id_, tasks):
        status, text = site.post(address(path, target), **form)
        assert status in (200, 204, 401, 404, 409, 422, 413), text
