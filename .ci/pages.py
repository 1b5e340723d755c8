#!/usr/bin/env python3
"""Looks at the pages in headless Chromium: `pages.py` starts a stack by `cargo dev` for that.

When all is well and when something is not, at 360 and 1400 px, light and dark, in each language: nothing sticks out
sideways, every text has the contrast that WCAG AA asks for, landmarks, headings, table headers and the pictures' words are there, a keyboard
reaches everything, and the browser has nothing to complain about. A team's page updates by itself and keeps the focus. A team is
connected as docs/teachers.md says (walk.py).
Screenshots go to target/pages. Without a Chromium it says that it was left out and ends well.
"""

import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from browser import Browser, look, program
from walk import Walk

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
FOLDER = TARGET / "pages"

# S1 and S2 have secrets of their own. L3 and S2 are connected while their pages are open.
COURSES = {
    "amep": {"teams": [f"L{n}" for n in range(1, 13)]},
    "pes": {"teams": ["S1", "S2"], "team_secrets": True, "github_secret": "a secret of the course, of which keys are derived"},
}


def wait_for(base, what, fits):
    """The page is looked at when there is something on it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{base}/status.json", timeout=20) as answer:
            status = json.load(answer)
        if fits(status):
            return
        time.sleep(0.5)
    sys.exit(f"{base}/status.json shows no {what} after two minutes: {status}")


@contextlib.contextmanager
def trouble(told):
    """Teams that never sent anything, and requests that are refused: of one of them, and of an unknown project."""
    file = TARGET / "dev" / "credentials_config.json"
    before = file.read_text() if file.exists() else None
    file.write_text(json.dumps(COURSES))
    kinds = {"never_heard", "unverified", "unknown_project"}

    def found(status):
        # Ingress takes the file over within seconds; until then L2 is unknown to it, too.
        for prj in ("L2", "Nobody"):
            with contextlib.suppress(urllib.error.HTTPError):
                post(f"{told['INGRESS_URL']}/webhook/github?prj={prj}", b"{}")
        return kinds <= {finding["what"] for finding in status["findings"]}

    try:
        wait_for(told["WORKER_0_ADMIN_URL"], " or ".join(sorted(kinds)), found)
        yield
    finally:
        file.unlink() if before is None else file.write_text(before)


def post(url, body, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=20) as answer:
        return answer.read()


def link(told, prj, who="page"):
    """The link to a team's page, as docs/operations.md says it is made."""
    key = hmac.new(told["TEAM_PAGES_SECRET"].encode(), f"ld-connect/1/{who}/{prj}".encode(), hashlib.sha256)
    return f"{told['TEAM_PAGES_URL']}/team/{prj}/{key.hexdigest()[:32]}"


def push(told, prj):
    """A signed push of one commit."""
    body = json.dumps({"repository": {"full_name": "o/r"}, "commits": [{"id": "0" * 40, "message": "task #1"}]}).encode()
    def sign(algorithm):
        return f"{algorithm}={hmac.new(told['GITHUB_SECRET'].encode(), body, algorithm).hexdigest()}"

    headers = {"Content-Type": "application/json", "X-GitHub-Event": "push", "X-Hub-Signature": sign("sha1")}
    post(f"{told['INGRESS_URL']}/webhook/github?prj={prj}", body, headers | {"X-Hub-Signature-256": sign("sha256")})


def updates(told):
    """A team's page that is open turns to yes by itself, keeps the focus and says it to a screen reader."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program(), profile)
        found = browser.load(link(told, "L3"))
        is_yes = "Boolean(document.querySelector('section.yes h2#github-name'))"
        if browser.evaluate(is_yes):
            found.append("GitHub is connected before anything came")
        browser.evaluate("document.getElementById('taiga-summary').focus(), window.isTheSame = true")
        push(told, "L3")
        deadline = time.monotonic() + 60
        while not browser.evaluate(is_yes):
            if time.monotonic() > deadline:
                found.append("GitHub does not turn to yes by itself")
                break
            time.sleep(0.5)
        for what, code in (
            ("the focus is lost", "document.activeElement.id === 'taiga-summary'"),
            ("the page was loaded anew", "window.isTheSame === true"),
            ("a screen reader hears nothing", "document.getElementById('live').textContent.includes('GitHub')"),
            ("what to paste stays unfolded", "!document.getElementById('github-paste').open"),
        ):
            if not browser.evaluate(code):
                found.append(what)
        browser.close()
    return [f"a team's page that is open: {text}" for text in found]


@contextlib.contextmanager
def stack():
    """`cargo dev` with its demonstration; gives what it prints, such as `WORKER_0_ADMIN_URL`."""
    with tempfile.TemporaryFile("w+") as log:
        command = ["cargo", "dev", "--fresh", "--print-env"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
            try:
                told = {}
                while "READY" not in told:
                    line = process.stdout.readline()
                    if not line:
                        log.seek(0)
                        sys.exit(f"cargo dev did not start:\n{log.read()}")
                    told.update([line.strip().split("=", 1)])
                yield told
            finally:
                process.terminate()


def main():
    if not program():
        print("left out: there is no Chromium here (apt-get install chromium)")
        return 0
    status, team = ("form[role=search]", "#sentence", "table"), ("[role=status]", "#sentence", "table")
    with stack() as told:
        admin = told["WORKER_0_ADMIN_URL"]
        wait_for(admin, "team", lambda status: status["rows"] and status["last_notified"])
        complaints = look(f"{admin}/status", FOLDER, "status", status[:2])
        with urllib.request.urlopen(f"{admin}/status.json", timeout=20) as answer:
            demo = json.load(answer)["rows"][0]["prj"]
        complaints += look(link(told, demo), FOLDER, "team", team)
        complaints += look(f"{admin}/events?prj={demo}", FOLDER, "events", ["table"])
        complaints += look(f"{admin}/dead-letters", FOLDER, "dead-letters")
        with trouble(told):
            complaints += look(f"{admin}/status", FOLDER, "trouble", status[:2])
            complaints += look(link(told, "L2"), FOLDER, "team-trouble", team[:2])
            complaints += look(link(told, "S1", "teacher"), FOLDER, "teacher", team[:2])
            complaints += updates(told)
            complaints += Walk(told, link(told, "S2", "teacher")).run("S2")
            complaints += look(link(told, "S2"), FOLDER, "team-connected", team)
    print("\n".join(complaints) or f"looked at the pages in Chromium, nothing to complain about; pictures in {FOLDER}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
