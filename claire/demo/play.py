"""The demo's story: three nodes pair, share work, message each other's sessions, lose each other and meet again."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable
from random import Random

from claire.demo.hosts import Failed, Host, Stage, equal, until

PAUSE_S = 2.5  # so that one can read along
LOOKING_PAUSES = 3  # conflicts are there to be looked at
LIFE_S = (4.0, 9.0)
ASKED_S = 20.0  # a permission prompt nobody answers is answered by the demo
PARTLY = (0, 4, 5)  # some of the sessions refused
COMMANDS = ("npm publish", "rm -rf build", "git push --force", "docker compose down", "terraform apply")
PROGRESS = ("half of the tests pass", "found the cause", "the second attempt works", "waiting for the review")
IDEAS = ("write the changelog", "check the log levels", "measure the cold start", "drop the old flag")

Say = Callable[[str], None]


class Play:
    """The three hosts and what happens to them; `say` tells the reader, `pause` waits for them."""

    def __init__(self, stage: Stage, say: Say, *, quick: bool) -> None:
        self.stage, self.pause_s, self.began = stage, 0.0 if quick else PAUSE_S, time.monotonic()
        self._say = say
        self.apricot, self.birch, self.cedar = (Host(stage, name) for name in ("apricot", "birch", "cedar"))
        self.hosts = [self.apricot, self.birch, self.cedar]
        self.tasks: dict[str, str] = {}

    def say(self, line: str) -> None:
        self._say(f"{time.monotonic() - self.began:5.1f} s  {line}")

    def pause(self) -> None:
        time.sleep(self.pause_s)

    def run(self) -> None:
        """Each scene tells one thing; Failed if it does not come true."""
        for scene in (self.meet, self.sit_down, self.work, self.message, self.clear, self.part, self.meet_again):
            scene()
            self.pause()

    def meet(self) -> None:
        for host in self.hosts:
            host.start_daemon()
        until(lambda: all(host.runtime().get("ui") for host in self.hosts), "three daemons")
        self.say("apricot, birch and cedar run: each its own process, its own log, its own key")
        for inviter, joiner in ((self.apricot, self.birch), (self.birch, self.cedar)):
            joiner.claire("peer", "join", inviter.claire("peer", "invite")["line"])
        took_s = until(lambda: equal(self.hosts), "three equal logs")
        self.say(f"birch joined apricot, cedar joined birch; all three hold the same log {took_s:.1f} s later")
        self.links()

    def links(self) -> None:
        self._say("")
        self._say("  dashboards (each link signs one browser in, within a minute):")
        for host in self.hosts:
            self._say(f"    {host.name:<8} {host.sign_in_link()}")
        self._say("")

    def sit_down(self) -> None:
        seats = ((self.apricot, "login"), (self.apricot, "docs"), (self.birch, "search"), (self.cedar, "deploy"))
        for host, name in seats:
            host.start_session(name)
        until(lambda: all(self.apricot.state_of(name) == "idle" for _, name in seats), "four idle sessions on apricot")
        self.say("four sessions sit on three hosts; apricot sees all of them")

    def work(self) -> None:
        self.apricot.claire("project", "new", "shop", "--goal", "version 2 is live")
        for title, priority in (("fix the login", 0), ("rebuild the search", 1), ("roll out", 1), ("write it up", 3)):
            self.tasks[title] = self.apricot.claire("task", "add", "shop", title, "--prio", str(priority))["id"]
        self.apricot.claire("task", "link", self.tasks["roll out"], self.tasks["fix the login"])
        for title, host, session in (
            ("fix the login", self.apricot, "login"),
            ("rebuild the search", self.birch, "search"),
        ):
            self.apricot.claire("assign", self.tasks[title], host.sessions[session])
            host.cue(session, "work", on=title, say="The cause is a stale cookie.", seconds=6)
        until(lambda: equal(self.hosts), "the plan on all hosts")
        self.say("a project, four tasks, one waits for another; two are given to sessions, typed on apricot only")
        self.birch.claire("note", "the index is half built", session="search")
        self.birch.claire("decide", "shop", "search runs on SQLite")
        self.apricot.cue("docs", "ask", command="npm publish")
        until(lambda: self.cedar.state_of("docs") == "permission", "cedar hears that docs waits")
        self.say("docs on apricot waits for permission: `claire status` on cedar leads with it")

    def message(self) -> None:
        if self.stage.tmux is None:
            self.say("no tmux here, so no text is typed into sessions (on Debian: apt-get install tmux)")
            return
        until(lambda: self.apricot.state_of("login") == "idle", "login has finished its turn")
        sent = self.apricot.claire("broadcast", "shop", "--yes", "--", "please commit what you have", fine=PARTLY)
        until(lambda: all(self.apricot.outcomes(sent["id"])), "both sessions of the project got the message")
        self.say("a message to the project: birch will not type what apricot says until its own user allows it")
        self.birch.claire("peer", "allow-send", "apricot")
        sent = self.apricot.claire("broadcast", "shop", "--yes", "--", "please commit, now everybody")
        until(lambda: {*self.apricot.outcomes(sent["id"])} == {"delivered"}, "both sessions got the message")
        self.say("birch's user allowed it: now the text stands in both sessions, typed once, when they were idle")

    def clear(self) -> None:
        before, task = self.apricot.sessions["login"], self.tasks["fix the login"]
        self.apricot.cue("login", "clear")
        until(lambda: self.cedar.task_of(before)[0] not in ("", before), "the session that goes on is known on cedar")
        after, bound = self.cedar.task_of(before)
        if bound != task:
            raise Failed("the task was lost at /clear")
        self.say(f"/clear made session {before[:8]} into {after[:8]}: its task went with it, on every host")

    def part(self) -> None:
        for host in (self.apricot, self.birch):
            host.dial(self.cedar, False)
            self.cedar.dial(host, False)
        self.say("cedar is cut off: nobody dials it and it dials nobody; work goes on at both ends")
        task = self.tasks["fix the login"]
        self.apricot.claire("task", "done", task)
        self.apricot.claire("task", "claim", self.tasks["write it up"], "--session", self.apricot.sessions["docs"])
        self.cedar.claire("task", "block", task, "--why", "the staging password is missing")
        self.cedar.claire("task", "claim", self.tasks["write it up"], "--session", self.cedar.sessions["deploy"])
        self.cedar.claire("task", "add", "shop", "renew the certificate", "--prio", "0")
        until(lambda: equal([self.apricot, self.birch]), "apricot and birch agree")
        if equal(self.hosts):
            raise Failed("cedar was not cut off")
        here, there = self._status(self.apricot), self._status(self.cedar)
        self.say(f"on apricot and birch 'fix the login' is {here}, on cedar it is {there}")
        self.say("both sides claimed 'write it up', and cedar has a task nobody else knows")

    def _status(self, host: Host) -> str:
        return str(host.claire("task", "show", self.tasks["fix the login"])["status"])

    def meet_again(self) -> None:
        for host in (self.apricot, self.birch):
            host.dial(self.cedar, True)
            self.cedar.dial(host, True)
        took_s = until(lambda: equal(self.hosts), "three equal logs after the cut")
        self.say(f"the cut is healed: {took_s:.1f} s later all three hold the same log, nothing was lost")
        found = [{(row["field"], row["shown"]) for row in host.claire("conflicts")} for host in self.hosts]
        if any(other != found[0] for other in found) or {field for field, _ in found[0]} != {"status", "claim"}:
            raise Failed(f"three nodes do not tell the same two conflicts: {found}")
        self.say(f"what was set at both ends is shown on every node alike: two conflicts, {self._told()}")
        for _ in range(LOOKING_PAUSES):
            self.pause()
        self.apricot.claire("task", "done", self.tasks["fix the login"])
        self.cedar.claire("task", "release", "--session", self.cedar.sessions["deploy"])
        until(lambda: not any(host.claire("conflicts") for host in self.hosts), "the conflicts are settled")
        self.say("a person looked and settled them, once, for all")

    def _told(self) -> str:
        shown = {row["field"]: row["shown"] for row in self.cedar.claire("conflicts")}
        holder = {id_: name for host in self.hosts for name, id_ in host.sessions.items()}[shown["claim"]]
        return f"status {shown['status']} wins for now, {holder}'s claim was first"

    def invite(self) -> None:
        """What the reader may do now."""
        command = "claire" if shutil.which("claire") else f"{shlex.quote(sys.executable)} -m claire"
        self.links()
        self._say("  look around, in another terminal:")
        self._say(f"    export CLAIRE_HOME={shlex.quote(self.apricot.env['CLAIRE_HOME'])}")
        for words in ("status", "watch", "log --since 10m", "web"):
            self._say(f"    {command} {words}")
        if self.stage.tmux:
            self._say(f"    tmux -S {shlex.quote(str(self.apricot.socket))} attach -t docs    (Ctrl-b d leaves)")
        self._say("")
        self._say("  the sessions go on working; Ctrl-C ends everything and leaves nothing behind")

    def live(self, until_s: float, rng: Random) -> None:
        """Small things happen, until then on the monotonic clock."""
        asked: dict[str, float] = {}
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, rng.uniform(*LIFE_S)))
            host = rng.choice(self.hosts)
            session = rng.choice(list(host.sessions))
            state = host.state_of(session)
            if state == "permission":
                if time.monotonic() - asked.setdefault(session, time.monotonic()) > ASKED_S:
                    host.cue(session, "answer")
                    del asked[session]
            elif state == "idle":
                self._something(host, session, rng)

    def _something(self, host: Host, session: str, rng: Random) -> None:
        choice = rng.random()
        if choice < 0.2:
            host.cue(session, "ask", command=rng.choice(COMMANDS))
            return
        host.cue(session, "work", on="go on", say="Done for now.", seconds=rng.uniform(4, 15))
        open_tasks = host.claire("task", "list", "--ready")
        if choice < 0.5 and open_tasks:
            host.claire("task", "claim", open_tasks[0]["id"], session=session)
        elif choice < 0.65:
            host.claire("task", "add", "shop", rng.choice(IDEAS))
        elif bound := host.claire("session", "show", host.sessions[session])["assignment"]:
            if bound["status"] == "in_progress" and choice > 0.85:
                host.claire("task", "done", bound["task_id"])
            else:
                host.claire("note", bound["task_id"], rng.choice(PROGRESS))


def demo(say: Say, *, quick: bool, for_s: float | None) -> None:
    """Play the story, go on living for so long, and tidy up, however it ends."""
    stage = Stage()
    say(f"claire demo: three nodes in {stage.root}, which is removed at the end")
    try:
        play = Play(stage, say, quick=quick)
        play.run()
        if for_s != 0:
            play.invite()
            play.live(play.began + for_s if for_s is not None else float("inf"), Random())
    except KeyboardInterrupt:
        say("ending …")
    finally:
        stage.tidy()
    say("ended; nothing is left behind")
