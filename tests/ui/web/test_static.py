"""What the pages do in a real browser: keys, live refresh, and never losing what a person types."""

from typing import Any

from tests.ui.web.chromium import follow_link, ready, visit
from tests.ui.web.conftest import Site


def open_project(tab: Any, site: Site, name: str) -> str:
    project = site.one("SELECT id FROM projects WHERE name = ?", name)
    tab.goto(f"{site.server.origin}/projects/{project}")
    ready(tab)
    return project


def test_browser_create_assign_done_by_keyboard_alone(tab: Any, site: Site) -> None:
    keys = tab.keyboard
    ready(tab)
    keys.press("g")
    keys.press("p")
    tab.wait_for_url("**/projects")
    ready(tab)
    keys.press("n")
    keys.type("kiln")
    keys.press("Enter")
    tab.wait_for_url("**/projects/*")
    ready(tab)
    keys.press("n")
    keys.type("Stack the shelves")
    keys.press("Enter")
    tab.get_by_role("link", name="Stack the shelves").first.wait_for()
    keys.press("Escape")
    keys.press("j")
    keys.press("a")
    keys.type("quince:docs-review")
    keys.press("Enter")
    tab.locator("tr", has_text="Stack the shelves").get_by_text("in progress").wait_for()
    keys.press("Escape")
    keys.press("j")
    keys.press("x")
    tab.locator("tr", has_text="Stack the shelves").wait_for(state="detached")
    assert site.one("SELECT status FROM tasks WHERE title = 'Stack the shelves'") == "done"
    assert site.one("SELECT active FROM assignments ORDER BY created_hlc DESC LIMIT 1") == "1"


def test_browser_another_window_follows_within_one_poll(tab: Any, site: Site) -> None:
    project = open_project(tab, site, "docs-site")
    other = tab.context.new_page()
    other.goto(f"{site.server.origin}/")
    site.post(f"/projects/{project}/tasks", title="Seen elsewhere")
    polls = statuses(tab), statuses(other)
    tab.get_by_role("link", name="Seen elsewhere", exact=True).wait_for()
    other.locator(f"#p-{project}").get_by_text("2 of 4 done").wait_for()
    for answers in polls:
        assert answers.index(200) <= 2, "304: one before it was written, one under way then"


def statuses(page: Any) -> list[int]:
    """Of what the page gets from now on."""
    seen: list[int] = []
    page.on("response", lambda answer: seen.append(answer.status))
    return seen


def test_browser_typing_survives_a_refresh(tab: Any, site: Site) -> None:
    project = open_project(tab, site, "search")
    tab.locator("summary", has_text="Edit project").click()
    tab.get_by_label("Goal").fill("Half a sentence")
    tab.get_by_label("New decision").fill("Not sent yet")
    new = tab.get_by_label("New task")
    new.click()
    tab.keyboard.type("I am still wri")
    before = tab.evaluate("[scrollY, document.querySelector('[name=title]').getBoundingClientRect().top]")
    with tab.expect_response(lambda answer: answer.status == 200 and "hx-request" in answer.request.headers):
        site.post(f"/projects/{project}", goal="Changed by somebody else")
        site.post("/projects", name=f"beside-{project[:4]}")
    tab.get_by_text("Changed by somebody else").first.wait_for()
    tab.keyboard.type("ting")
    assert new.input_value() == "I am still writing"
    assert tab.get_by_label("Goal").input_value() == "Half a sentence"  # still open, still mine
    assert tab.get_by_label("New decision").input_value() == "Not sent yet"
    assert tab.evaluate("[scrollY, document.querySelector('[name=title]').getBoundingClientRect().top]") == before


def test_browser_nothing_new_is_304_and_touches_nothing(tab: Any, site: Site) -> None:
    tab.goto(f"{site.server.origin}/")
    tab.evaluate("document.querySelector('main h1').dataset.mine = 'kept'")
    with tab.expect_response(lambda answer: "if-none-match" in answer.request.headers) as answer:
        pass
    assert answer.value.status == 304
    assert tab.evaluate("document.querySelector('main h1').dataset.mine") == "kept"


def test_browser_says_so_when_the_node_is_silent(tab: Any, site: Site, eyes: Any) -> None:
    eyes.foreseen = ("ERR_INTERNET_DISCONNECTED", "Failed to fetch")
    ready(tab)
    tab.context.set_offline(True)
    tab.evaluate("document.body.dispatchEvent(new Event('claire-changed'))")
    tab.locator("#lost").wait_for(state="visible")
    tab.context.set_offline(False)
    tab.evaluate("document.body.dispatchEvent(new Event('claire-changed'))")
    tab.locator("#lost").wait_for(state="hidden")


def test_browser_says_what_went_wrong_and_keeps_the_words(tab: Any, site: Site, eyes: Any) -> None:
    eyes.foreseen = ("status of 409",)
    tab.goto(f"{site.server.origin}/projects")
    ready(tab)
    tab.get_by_label("Name").fill("search")
    tab.get_by_role("button", name="Create").click()
    tab.locator("#said", has_text="there is a project 'search' already").wait_for()
    assert tab.get_by_label("Name").input_value() == "search"


def test_browser_broadcast_is_confirmed_then_followed(tab: Any, site: Site) -> None:
    tab.goto(f"{site.server.origin}/broadcast?to=billing")
    ready(tab)
    tab.get_by_label("Text", exact=True).fill("Freeze at noon.\nThen rest.")
    tab.get_by_role("button", name="Who gets this?").click()
    confirm = tab.locator("#confirm")
    confirm.get_by_text("1 session will get this").wait_for()
    assert confirm.get_by_text("credit-notes").is_visible()
    confirm.get_by_role("button", name="Send to 1").click()
    tab.wait_for_url("**/broadcast/*")
    assert tab.locator("main", has_text="queued").is_visible()
    assert tab.locator("p.saying").inner_text() == "Freeze at noon.\nThen rest."


def test_browser_a_conflict_is_settled_by_one_click(tab: Any, site: Site) -> None:
    tab.goto(f"{site.server.origin}/conflicts")
    ready(tab)
    tab.get_by_role("button", name="Load test at 8k req/s").click()
    tab.get_by_text("1 conflict", exact=True).wait_for()
    assert site.one("SELECT count(*) FROM tasks WHERE title = 'Load test at 8k req/s'") == "1"


def test_browser_help_opens_with_a_key(tab: Any) -> None:
    ready(tab)
    tab.keyboard.press("?")
    tab.locator("#keys").wait_for(state="visible")
    tab.keyboard.press("Escape")
    tab.locator("#keys").wait_for(state="hidden")


def test_browser_signs_out(tab: Any, site: Site, eyes: Any) -> None:
    eyes.foreseen = ("status of 401",)
    tab.keyboard.press("?")
    tab.get_by_role("button", name="Sign this browser out").click()
    tab.get_by_text("needs a sign-in link").wait_for()
    assert tab.goto(site.server.origin).status == 401
    assert tab.get_by_role("heading", name="Not signed in.").is_visible()


def test_browser_a_used_link_says_so(chromium: Any, site: Site) -> None:
    from claire.ui import login

    link = login.link(site.node, site.server.origin)
    with visit(chromium) as first:
        tab = first.new_page()
        tab.goto(link)
        tab.wait_for_url(f"{site.server.origin}/")
    with visit(chromium) as second:
        tab = second.new_page()
        tab.goto(link)
        tab.get_by_text("used up or older than a minute").wait_for()
        assert "#" not in tab.url
        follow_link(tab, site.node, site.server.origin)
