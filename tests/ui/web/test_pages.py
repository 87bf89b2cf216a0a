"""Every page in a real browser: light and dark, three widths, by keyboard, without JavaScript, under attack."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.ui.web.chromium import SCHEMES, WIDTHS, Eyes, visit
from tests.ui.web.conftest import Site
from tests.ui.web.served import running

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
SERIOUS = ("serious", "critical")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_browser_every_page_fits(tab: Any, site: Site, scheme: str, width: int) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 900})
    for path in site.paths():
        tab.goto(site.server.origin + path)
        assert tab.locator("main h1").count() == 1, path
        wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"
        ink, paper = tab.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        assert (luma(ink) > luma(paper)) == (scheme == "dark")


@pytest.mark.parametrize("width", WIDTHS[:2])
def test_browser_long_words_fit(chromium: Any, make_node: Any, clock: Any, width: int) -> None:
    """A session may wait for a whole command, and a name may have no place to break at."""
    from claire.ui.web import app
    from tests.ui.web.conftest import sign_in
    from tests.ui.web.poisoned import fill

    node = make_node("long")
    fill(node, clock, lambda n: f"{n}-" + ("word" * 40 if n % 2 else "cargo test --workspace --all-features " * 6))
    with running(lambda port: app(node, port=port)) as server, chromium.new_context() as context:
        site = Site(node, server, sign_in(node), clock, {})
        context.add_cookies([{"name": f"claire-{server.port}", "value": site.cookie, "url": server.origin}])
        tab = context.new_page()
        tab.set_viewport_size({"width": width, "height": 900})
        for path in site.paths():
            tab.goto(server.origin + path)
            wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} px too wide"


def luma(colour: str) -> int:
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_browser_axe_finds_nothing_serious(tab: Any, site: Site, scheme: str) -> None:
    tab.emulate_media(color_scheme=scheme)
    for path in site.paths():
        tab.goto(site.server.origin + path)
        tab.evaluate(AXE.read_text())
        found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            (v["id"], v["help"], [n["html"][:160] for n in v["nodes"]])
            for v in found["violations"]
            if v["impact"] in SERIOUS
        ]
        assert serious == [], path


@pytest.mark.skipif("CLAIRE_PICTURES" not in os.environ, reason="CLAIRE_PICTURES=docs/pictures makes them anew")
def test_browser_pictures_of_the_docs(tab: Any, site: Site) -> None:
    folder = Path(os.environ["CLAIRE_PICTURES"])
    project = site.one("SELECT id FROM projects WHERE name = 'api-gateway'")
    for name, scheme, path, width, height in (
        ("dashboard", "light", "/", 1280, 860),
        ("dashboard", "dark", "/", 1280, 860),
        ("project", "light", f"/projects/{project}", 1280, 860),
        ("phone", "dark", "/", 390, 780),
    ):
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size({"width": width, "height": height})
        tab.goto(site.server.origin + path)
        tab.screenshot(path=folder / f"{name}-{scheme}.png")


def test_browser_everything_is_reached_by_tab_and_shows_it(tab: Any, site: Site) -> None:
    tab.goto(f"{site.server.origin}/projects")
    reached = set()
    for _ in range(60):
        tab.keyboard.press("Tab")
        where, outline = tab.evaluate(
            "[document.activeElement.outerHTML.slice(0, 60), getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.add(where)
        assert outline != "none" or where.startswith("<body"), where
    assert len(reached) > 15


def test_browser_reads_without_javascript(chromium: Any, site: Site) -> None:
    cookie = {"name": f"claire-{site.server.port}", "value": site.cookie, "url": site.server.origin}
    with visit(chromium, java_script_enabled=False) as context:
        context.add_cookies([cookie])
        tab = context.new_page()
        for path in site.paths():
            tab.goto(site.server.origin + path)
            assert tab.locator("main h1").is_visible(), path
        tab.goto(f"{site.server.origin}/sessions")
        tab.get_by_label("State").select_option("needs")
        tab.get_by_role("button", name="Show").click()
        assert tab.locator("tbody tr").count() == 3
        tab.get_by_role("button", name="Keyboard shortcuts").click()
        assert tab.locator("#keys").is_visible()


ATTACK = """
<!doctype html><title>elsewhere</title><body>
<form id=f method=post action="{victim}/projects"><input name=name value=planted></form>
<form id=g method=post action="{victim}/broadcast" enctype="text/plain"><input name=to value=billing></form>
<img src="{victim}/projects?name=planted"><script src="{victim}/static/claire.js"></script>
<iframe name=frame src="{victim}/"></iframe>
"""
FETCHES = """async (victim) => {
  const tries = [];
  const form = {method: "POST", credentials: "include", body: new URLSearchParams({name: "planted"})};
  for (const more of [{}, {mode: "no-cors"}, {headers: {"HX-Request": "true"}}, {mode: "no-cors", keepalive: true}]) {
    for (const path of ["/projects", "/broadcast", "/login", "/logout"]) {
      tries.push(fetch(victim + path, {...form, ...more}).then(a => a.type + a.status, e => "blocked"));
    }
  }
  tries.push(fetch(victim + "/", {credentials: "include"}).then(a => a.text(), e => "blocked"));
  tries.push(navigator.sendBeacon(victim + "/projects", new URLSearchParams({name: "planted"})) ? "sent" : "no");
  return Promise.all(tries);
}"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same-site", "cross-site"])
def test_w2_a_page_elsewhere_attacks_in_a_signed_in_browser(chromium: Any, site: Site, host: str) -> None:
    """The victim's own browser, cookie and all: another port of this host, and another site."""
    from starlette.responses import HTMLResponse

    async def hostile(scope: Any, receive: Any, send: Any) -> None:
        await HTMLResponse(ATTACK.format(victim=site.server.origin))(scope, receive, send)

    before = site.events()
    with running(lambda port: hostile) as elsewhere, visit(chromium) as context:
        cookie = {
            "name": f"claire-{site.server.port}",
            "value": site.cookie,
            "url": site.server.origin,
            "sameSite": "Strict",
        }
        context.add_cookies([cookie | {"httpOnly": True}])
        tab = context.new_page()
        assert tab.goto(site.server.origin).status == 200  # this browser is signed in
        home = f"http://{host}:{elsewhere.port}/"
        tab.goto(home)
        answers = tab.evaluate(FETCHES, site.server.origin)
        assert not [answer for answer in answers if answer not in ("blocked", "opaque0", "sent")], answers
        assert tab.frame(name="frame") is None or "need you" not in tab.frame(name="frame").content()
        for form in ("f", "g"):
            tab.goto(home)
            with tab.expect_navigation() as answer:
                tab.evaluate(f"document.getElementById('{form}').submit()")
            assert answer.value.status in (403, 415)
        tab.goto(home)
        tab.evaluate("victim => window.open(victim + '/login#stolen')", site.server.origin)
    assert site.events() == before
    assert site.get("/")[0] == 200  # nobody was signed out either


def test_w5_hostile_text_runs_nothing(chromium: Any, make_node: Any, clock: Any, eyes: Eyes) -> None:
    from claire.ui.web import app
    from tests.ui.web.conftest import sign_in
    from tests.ui.web.poisoned import fill, poison

    node = make_node("poisoned")
    fill(node, clock, poison)
    with running(lambda port: app(node, port=port)) as server, visit(chromium) as context:
        site = Site(node, server, sign_in(node), clock, {})
        context.add_cookies([{"name": f"claire-{server.port}", "value": site.cookie, "url": server.origin}])
        tab = context.new_page()
        eyes.watch(tab, server.origin)
        tab.on("dialog", lambda dialog: eyes.errors.append(f"dialog: {dialog.message}") or dialog.dismiss())
        for path in site.paths():
            tab.goto(server.origin + path)
            tab.evaluate("document.body.dispatchEvent(new Event('claire-changed'))")  # and once more as a fragment
            tab.wait_for_load_state("networkidle")
            assert (
                tab.evaluate(
                    "document.querySelectorAll('main script, main iframe, main img, main base, main style').length"
                )
                == 0
            )
    assert eyes.surprises() == []
