"""Connects a team as docs/teachers.md says, with its teacher's link alone, while the page is open in Chromium. Then finds a
delivery's story with nothing but its id. The senders are the stand-ins of `cargo dev`, and the real add-on of the Sheet."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.request

from browser import Browser, program

ROOT = pathlib.Path(__file__).resolve().parent.parent
OWNER = "orgs/a-team"
# The number of the stand-in's only project.
BOARD = 31


def ask(url, body, token):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return json.loads(answer.read() or b"null")


class Walk:
    def __init__(self, stack, link):
        self.stack, self.link, self.found = stack, link, []

    def text(self, name):
        """What the page shows to copy; `textContent`, because a secret is folded up."""
        return self.browser.evaluate(f"document.getElementById({json.dumps(name)})?.textContent ?? ''")

    def becomes(self, what, code):
        deadline = time.monotonic() + 60
        while not self.browser.evaluate(f"Boolean({code})"):
            if time.monotonic() > deadline:
                self.found.append(f"after a minute: {what}")
                return
            time.sleep(0.5)

    def is_yes(self, source):
        self.becomes(f"{source} does not turn to yes", f"document.querySelector('section.yes h2#{source}-name')")

    def github(self):
        api, token = self.stack["GITHUB_API_URL"], self.stack["GITHUB_TOKEN"]
        config = {"url": self.text("github-url"), "content_type": "json", "secret": self.text("github-secret")}
        events = ["push", "issues", "pull_request", "repository"]
        hooks = f"{api}/{OWNER}/hooks"
        hook = ask(hooks, {"name": "web", "active": True, "events": events, "config": config}, token)["id"]
        # GitHub sends its `ping` by itself.
        ask(f"{hooks}/{hook}/pings", {}, token)
        self.is_yes("github")
        ask(f"{hooks}/{hook}/tests", {}, token)
        sent = ask(f"{hooks}/{hook}/deliveries", None, token)
        answers = [(one["event"], one["status_code"]) for one in sent]
        if answers != [("push", 200), ("ping", 200)]:
            self.found.append(f"GitHub was answered {answers}")
        self.becomes("the push is not among the deliveries", "document.querySelector('section.deliveries tbody tr')")
        return sent[0]["guid"]

    def taiga(self):
        api = self.stack["TAIGA_API_URL"]
        account = {"type": "normal", "username": self.stack["TAIGA_USERNAME"], "password": self.stack["TAIGA_PASSWORD"]}
        token = ask(f"{api}/auth", account, "")["auth_token"]
        hook = {"project": BOARD, "name": "LD Connect", "url": self.text("taiga-url"), "key": self.text("taiga-secret")}
        made = ask(f"{api}/webhooks", hook, token)["id"]
        log = ask(f"{api}/webhooks/{made}/test", {}, token)
        if log["status"] != 200:
            self.found.append(f"Taiga's test was answered {log['status']}")
        self.is_yes("taiga")

    def sheet(self):
        pasted = {"ADDRESS": self.text("excel-url"), "PRJ": self.text("excel-prj"), "EXCEL_SECRET": self.text("excel-secret")}
        code = {"CODE": str(ROOT / "config_files/google_sheets/Code.gs"), "PATH": os.environ["PATH"]}
        script = ROOT / "tests/e2e/pipeline/sheets_add_on/connect.js"
        said = subprocess.run(["node", script], env=pasted | code, capture_output=True, text=True, check=False)
        if "✓ Sent" not in said.stdout:
            self.found.append(f"the add-on says: {said.stdout} {said.stderr}")
        self.is_yes("excel")

    def click(self, code):
        """Follows a link of the page."""
        self.browser.events.clear()
        if not self.browser.evaluate(f"((link) => link ? (link.click(), true) : false)({code})"):
            self.found.append(f"{self.browser.evaluate('location.pathname')} has no link {code}")
            return
        while not any(event.get("method") == "Page.loadEventFired" for event in self.browser.events):
            self.browser.events.append(self.browser.read())

    def story(self, delivery, prj):
        """One command, and two clicks from the status page."""
        programs = pathlib.Path(self.stack["PROGRAMS"])
        env = {name: self.stack[name] for name in ("NATS_URL", "MONGO_URI", "MONGO_DB")}
        said = subprocess.run([programs / "worker", "events", "show", delivery], env=env, capture_output=True, text=True, check=False)
        if said.returncode or delivery not in said.stdout or "notified" not in said.stdout and "enriched" not in said.stdout:
            self.found.append(f"worker events show {delivery} says: {said.stdout} {said.stderr}")
        self.browser.load(f"{self.stack['WORKER_0_ADMIN_URL']}/status?lang=en")
        link = "[...document.querySelectorAll('main a')].find(one => one.textContent === %s)"
        self.click(link % json.dumps(prj))
        self.click(link % json.dumps(delivery))
        page = self.browser.evaluate("document.querySelector('main').textContent")
        if delivery not in page or "a-team" not in page and "commits" not in page:
            self.found.append(f"two clicks from the status page there is no story of {delivery}: {page}")

    def run(self, prj):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            self.browser = Browser(program(), profile)
            self.found += self.browser.load(f"{self.link}?lang=en")
            delivery = self.github()
            self.taiga()
            if shutil.which("node"):
                self.sheet()
                self.becomes("not all three are connected", "document.getElementById('sentence').textContent.startsWith('All three')")
            self.becomes("the push is not stored", "document.querySelector('section.deliveries').textContent.includes('Stored, and the dashboard knows')")
            self.story(delivery, prj)
            self.browser.close()
        return [f"a teacher's walk: {text}" for text in self.found]
