#!/usr/bin/env python3
"""Looks at the status page in headless Chromium: `status_page.py` starts a stack by `cargo dev` for that,
`status_page.py http://127.0.0.1:5081` takes a worker's admin address that is there.

When all is well and when something is not, at 360 and 1400 px, light and dark, in each language: nothing sticks out
sideways, every text has the contrast that WCAG AA asks for, landmarks, headings, table headers and the pictures' words are there, and the browser has
nothing to complain about. Screenshots go to target/status-page. Without a Chromium it says that it was left out and ends well.
"""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

FOLDER = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "status-page"

LOOK = r"""(() => {
  const found = [];
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) found.push(`the page is ${wide} px wider than the screen`);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const rgb = text => text.match(/[\d.]+/g).map(Number);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const text = node.data.trim(), e = node.parentElement;
    if (!text || e.closest('svg')) continue;
    const [a, b] = [luminance(rgb(getComputedStyle(e).color)), luminance(ground(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) found.push(`"${text}" has a contrast of ${contrast.toFixed(1)}`);
  }
  for (const one of ['header', 'main', 'footer', 'h1', 'nav[aria-label]', 'form[role=search]', '#sentence'])
    if (document.querySelectorAll(one).length !== 1) found.push(`not exactly one ${one}`);
  for (const section of document.querySelectorAll('section'))
    if (!document.getElementById(section.getAttribute('aria-labelledby'))) found.push('a section without a name');
  for (const table of document.querySelectorAll('table')) {
    if (!table.querySelector('thead th[scope=col]')) found.push('a table without column headers');
    for (const row of table.querySelectorAll('tbody tr'))
      if (!row.querySelector('th[scope=row]')) found.push('a row without a header');
  }
  for (const svg of document.querySelectorAll('svg'))
    if (svg.getAttribute('role') !== 'img' || !svg.getAttribute('aria-label')) found.push('a picture without words');
  for (const input of document.querySelectorAll('input:not([type=hidden])'))
    if (!input.labels.length) found.push('an input without a label');
  if (!document.querySelector('tbody tr')) found.push('no team is shown');
  return found;
})()"""


class Browser:
    """Chromium, spoken to through a pipe."""

    def __init__(self, program, profile):
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()

        def pipes():
            # Copies above both first, in case 3 or 4 is one of ours.
            ins, outs = os.dup(to_read), os.dup(from_write)
            os.dup2(ins, 3)
            os.dup2(outs, 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        self.process = subprocess.Popen(
            [program, *flags, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=pipes, close_fds=False, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.to, self.back = os.fdopen(to_write, "wb", 0), os.fdopen(from_read, "rb", 0)
        self.buffer, self.count, self.events, self.session = b"", 0, [], None
        pages = self.ask("Target.getTargets")["targetInfos"]
        page = next(target for target in pages if target["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def close(self):
        """Ends Chromium and its helper processes, which are one process group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def read(self):
        while b"\0" not in self.buffer:
            more = self.back.read(1 << 16)
            if not more:
                sys.exit("Chromium ended by itself")
            self.buffer += more
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **params):
        self.count += 1
        request = {"id": self.count, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        self.to.write(json.dumps(request).encode() + b"\0")
        while (message := self.read()).get("id") != self.count:
            self.events.append(message)
        if "error" in message:
            sys.exit(f"{method}: {message['error']}")
        return message["result"]

    def load(self, url):
        self.events.clear()
        self.ask("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.read())
        logged = [event["params"]["entry"]["text"] for event in self.events if event.get("method") == "Log.entryAdded"]
        return [f"the browser says: {text}" for text in logged]

    def evaluate(self, code):
        return self.ask("Runtime.evaluate", expression=code, returnByValue=True)["result"]["value"]


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
    file = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "dev" / "credentials_config.json"
    before = file.read_text() if file.exists() else None
    file.write_text(json.dumps({"amep": {"teams": [f"L{n}" for n in range(1, 13)]}}))
    kinds = {"never_heard", "unverified", "unknown_project"}

    def found(status):
        # Ingress takes the file over within seconds; until then L2 is unknown to it, too.
        for prj in ("L2", "Nobody"):
            request = urllib.request.Request(f"{told['INGRESS_URL']}/webhook/github?prj={prj}", b"{}")
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(request, timeout=20)
        return kinds <= {finding["what"] for finding in status["findings"]}

    try:
        wait_for(told["WORKER_0_ADMIN_URL"], " or ".join(sorted(kinds)), found)
        yield
    finally:
        file.unlink() if before is None else file.write_text(before)


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
    programs = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, programs)), None)
    if not program:
        print("left out: there is no Chromium here (apt-get install chromium)")
        return 0
    given = {"WORKER_0_ADMIN_URL": sys.argv[1]} if len(sys.argv) > 1 else None
    with contextlib.nullcontext(given) if given else stack() as told:
        base = told["WORKER_0_ADMIN_URL"]
        wait_for(base, "team", lambda status: status["rows"] and status["last_notified"])
        complaints = look(program, base, "status")
        if not given:
            with trouble(told):
                complaints += look(program, base, "trouble")
    print("\n".join(complaints) or f"looked at the pages in Chromium, nothing to complain about; pictures in {FOLDER}")
    return 1 if complaints else 0


def look(program, base, page):
    FOLDER.mkdir(parents=True, exist_ok=True)
    complaints = []
    # Chromium's helper processes can still write into the profile while it is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        for language in ("en", "ca", "es"):
            browser.ask("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
            for width in (360, 1400):
                for scheme in ("light", "dark"):
                    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
                    browser.ask("Emulation.setDeviceMetricsOverride", **metrics)
                    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                    name = f"{page}-{language}-{width}-{scheme}"
                    found = browser.load(f"{base}/status") + browser.evaluate(LOOK)
                    if browser.evaluate("document.documentElement.lang") != language:
                        found.append("it is in another language")
                    complaints += [f"{name}: {text}" for text in found]
                    picture = browser.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
                    (FOLDER / f"{name}.png").write_bytes(base64.b64decode(picture))
        browser.close()
    return complaints


if __name__ == "__main__":
    sys.exit(main())
