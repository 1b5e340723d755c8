"""Headless Chromium for the checks of pages: what every page must keep, whatever it shows."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

LOOK = r"""(once => {
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
    if (!text || e.closest('svg,script,style,noscript') || !e.checkVisibility()) continue;
    const [a, b] = [luminance(rgb(getComputedStyle(e).color)), luminance(ground(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) found.push(`"${text}" has a contrast of ${contrast.toFixed(1)}`);
  }
  for (const one of ['header', 'main', 'footer', 'h1', 'nav[aria-label]', ...once])
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
  const ids = [...document.querySelectorAll('[id]')].map(one => one.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) found.push(`the id ${id} is there twice`);
  return found;
})"""


# What a keyboard reaches, and where it is: the position among all that it must reach, and whether one sees it.
FOCUS = r"""(() => {
  const all = [...document.querySelectorAll('a[href],button,summary,input:not([type=hidden]),select,textarea,[tabindex]')];
  const seen = all.filter(one => one.checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true }));
  const style = getComputedStyle(document.activeElement);
  return { count: seen.length, at: seen.indexOf(document.activeElement),
    ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    names: seen.map(one => one.id || one.textContent.trim() || one.outerHTML) };
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

    def press(self, key):
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


def program():
    programs = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, programs)), None)


def look(url, folder, page, once=()):
    """Looks at a page in each language, at 360 and 1400 px, light and dark. Gives what is wrong; pictures go to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    complaints = []
    # Chromium's helper processes can still write into the profile while it is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program(), profile)
        for language in ("en", "ca", "es"):
            browser.ask("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
            for width in (360, 1400):
                for scheme in ("light", "dark"):
                    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
                    browser.ask("Emulation.setDeviceMetricsOverride", **metrics)
                    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                    name = f"{page}-{language}-{width}-{scheme}"
                    found = browser.load(url) + browser.evaluate(f"{LOOK}({json.dumps(list(once))})")
                    if browser.evaluate("document.documentElement.lang") != language:
                        found.append("it is in another language")
                    complaints += [f"{name}: {text}" for text in found]
                    picture = browser.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
                    (folder / f"{name}.png").write_bytes(base64.b64decode(picture))
        complaints += [f"{page}, by keyboard: {text}" for text in by_keyboard(browser, url)]
        browser.close()
    return complaints


def by_keyboard(browser, url):
    """Tab reaches everything, one sees where it is, and Enter unfolds what is folded."""
    found = browser.load(url)
    reached = set()
    for _ in range(browser.evaluate(FOCUS)["count"] + 1):
        browser.press("Tab")
        focus = browser.evaluate(FOCUS)
        reached.add(focus["at"])
        if focus["at"] >= 0 and not focus["ring"]:
            found.append(f"one does not see that {focus['names'][focus['at']]!r} has the focus")
    missed = set(range(focus["count"])) - reached
    found += [f"Tab does not reach {focus['names'][at]!r}" for at in sorted(missed)]
    if browser.evaluate("Boolean(document.querySelector('main summary'))"):
        state = "(one => one.focus() || one.parentElement.open)(document.querySelector('main summary'))"
        before = browser.evaluate(state)
        browser.press("Enter")
        if browser.evaluate("document.querySelector('main summary').parentElement.open") == before:
            found.append("Enter does not fold and unfold")
    return found
