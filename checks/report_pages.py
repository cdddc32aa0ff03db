#!/usr/bin/env python3
"""Opens reports in a real browser and looks at them: light, dark, on a phone, printed.

    apt-get install chromium            # Debian; poppler-utils too, for pictures of the printed pages
    python3 checks/report_pages.py runs/NAME/report.html [MORE.html ...] --screenshots FOLDER

For each page and each look: nothing on the console, no request but the page itself, nothing wider than the window, every
chart as wide as it should be and its text no smaller than 9 pixels on the screen. The screenshots are for looking at: a
page is cut into pieces of a readable height. Exit code 1 if anything is not as it should be.

The Python standard library only; the browser is driven through its DevTools pipe (file descriptors 3 and 4).
"""

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOOKS = {
    # name: width, scale, colour scheme
    "light": (1200, 1, "light"),
    "dark": (1200, 1, "dark"),
    "phone": (375, 2, "light"),
    "phone-dark": (375, 2, "dark"),
}
PIECE = 1800  # pixels of a page in one screenshot

# What is wider than the window, or too small to read. Tables may scroll inside their own box.
PROBE = """(() => {
  const wide = document.documentElement.clientWidth;
  const boxes = [...document.body.querySelectorAll('*')].filter(e => !e.closest('.table, pre'));
  const over = boxes.filter(e => e.getBoundingClientRect().right > wide + 1).map(e => e.tagName + '.' + e.className);
  const charts = [...document.querySelectorAll('figure > svg')];
  const text = charts.map(svg => parseFloat(getComputedStyle(svg.querySelector('text')).fontSize)
    * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width);
  const outside = charts.flatMap(svg => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(t => {
      const r = t.getBoundingClientRect();
      return r.left < box.left - 1 || r.right > box.right + 1 || r.bottom > box.bottom + 1;
    }).map(t => t.textContent);
  });
  const cut = [...document.querySelectorAll('.table')].filter(box => box.scrollWidth > box.clientWidth + 1)
    .map(box => box.textContent.slice(0, 60));
  return {cut: cut.slice(0, 3), overflow: document.documentElement.scrollWidth - wide, over: over.slice(0, 5), outside: outside.slice(0, 5),
    smallest: Math.min(...text), charts: charts.length, tables: document.querySelectorAll('table').length,
    height: document.documentElement.scrollHeight, scripts: document.scripts.length};
})()"""


class Browser:
    """A headless Chromium at the end of a pipe: one JSON message, one NUL byte."""

    def __init__(self, program):
        self.profile = tempfile.mkdtemp(prefix="report-pages-")
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def descriptors():
            # Away from 3 and 4 first: they may be the very ones that are to be moved.
            source, sink = os.dup2(theirs_in, 50), os.dup2(theirs_out, 51)
            os.dup2(source, 3)
            os.dup2(sink, 4)

        flags = ["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--hide-scrollbars",
                 "--disable-extensions", "--disable-dev-shm-usage", f"--user-data-dir={self.profile}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        self.process = subprocess.Popen([program, *flags, "about:blank"], preexec_fn=descriptors, close_fds=False,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.source, self.sink = os.fdopen(ours_in, "rb", buffering=0), os.fdopen(ours_out, "wb", buffering=0)
        self.left, self.number, self.events = b"", 0, []

    def message(self):
        while b"\0" not in self.left:
            read = self.source.read(1 << 20)
            if not read:
                sys.exit("the browser ended")
            self.left += read
        one, self.left = self.left.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, session=None, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self.sink.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.message())

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


def page(browser, path, look, into):
    """Opens one page in one look; returns what is wrong with it."""
    width, scale, scheme = LOOKS.get(look, (1000, 1, "light"))
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(method, **params):
        return browser.call(method, session, **params)

    for domain in ("Page", "Runtime", "Log", "Network"):
        call(f"{domain}.enable")
    call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=scale, mobile=width < 500)
    call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.events.clear()
    address = path.resolve().as_uri()
    call("Page.navigate", url=address)
    browser.wait("Page.loadEventFired")
    faults = []
    name = f"{path.resolve().parent.name}-{look}"
    if look == "print":
        # The printed width of A4 within its margins, at 96 dots an inch.
        call("Emulation.setDeviceMetricsOverride", width=688, height=970, deviceScaleFactor=1, mobile=False)
        call("Emulation.setEmulatedMedia", media="print", features=[])
        found = call("Runtime.evaluate", expression=PROBE, returnByValue=True)["result"]["value"]
        if found["cut"] or found["overflow"] > 0:
            faults.append(f"wider than the paper: {found['cut']}")
        call("Emulation.setEmulatedMedia", media="", features=[])
        pdf = base64.b64decode(call("Page.printToPDF", printBackground=True, preferCSSPageSize=True, paperWidth=8.27,
                                    paperHeight=11.69)["data"])
        (into / f"{name}.pdf").write_bytes(pdf)
        pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))
        print(f"{name}: {pages} pages")
        if not 1 <= pages <= 80:
            faults.append(f"{pages} printed pages")
        if shutil.which("pdftoppm"):
            subprocess.run(["pdftoppm", "-png", "-r", "60", into / f"{name}.pdf", into / name], check=True)
    else:
        found = call("Runtime.evaluate", expression=PROBE, returnByValue=True)["result"]["value"]
        print(f"{name}: {found}")
        if found["overflow"] > 0 or found["over"]:
            faults.append(f"{found['overflow']} pixels too wide: {found['over']}")
        if found["cut"] and width > 600:
            faults.append(f"tables wider than the page: {found['cut']}")
        if found["outside"]:
            faults.append(f"text outside of its chart: {found['outside']}")
        if found["charts"] and found["smallest"] < 9:
            faults.append(f"text of charts is {found['smallest']:.1f} pixels high")
        if found["scripts"]:
            faults.append("there are scripts")
        for at, top in enumerate(range(0, found["height"], PIECE)):
            clip = {"x": 0, "y": top, "width": width, "height": min(PIECE, found["height"] - top), "scale": 1}
            shot = call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
            (into / f"{name}-{at:02}.png").write_bytes(base64.b64decode(shot["data"]))
    for event in browser.events:
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent" and params["request"]["url"] != address:
            faults.append(f"a request: {params['request']['url']}")
        if method in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            faults.append(f"on the console: {json.dumps(params)[:300]}")
    browser.call("Target.closeTarget", targetId=target)
    return [f"{name}: {fault}" for fault in faults]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--screenshots", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    asked = parser.parse_args()
    if not asked.browser:
        sys.exit("expected chromium: apt-get install chromium")
    asked.screenshots.mkdir(parents=True, exist_ok=True)
    browser = Browser(asked.browser)
    try:
        faults = [fault for path in asked.pages for look in (*LOOKS, "print")
                  for fault in page(browser, path, look, asked.screenshots)]
    finally:
        browser.close()
    for fault in faults:
        print(f"FAULT {fault}", file=sys.stderr)
    print("all as it should be" if not faults else f"{len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
