"""Run the command line as a person does, in a scratch folder; open a page in a real browser and see what it shows."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
import subprocess
import sys

import pytest

from perturbcast import cli

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)
POLICY = "default-src 'none'"
# runs after the page has been laid out; what it finds comes back as text in the page
MEASURE = """<script>
addEventListener("load", () => {
  const box = e => { const b = e.getBoundingClientRect(); return [b.width, b.height]; };
  const seen = {
    plots: [...document.querySelectorAll("svg")].map(e => ({
      label: e.getAttribute("aria-label"), box: box(e), marks: e.querySelectorAll("path, use").length,
      words: [...e.querySelectorAll("text")].map(t => t.textContent) })),
    tables: [...document.querySelectorAll("table")].filter(e => !e.closest("details")).map(e => ({
      heads: [...e.querySelectorAll("thead th")].map(t => t.textContent), rows: e.rows.length, box: box(e) })),
    dead_links: [...document.links].map(e => e.getAttribute("href"))
      .filter(h => !h.startsWith("#") || !document.getElementById(decodeURIComponent(h.slice(1)))),
    overflow: document.documentElement.scrollWidth - innerWidth,
    requests: performance.getEntriesByType("resource").map(e => e.name),
  };
  const out = document.createElement("pre");
  out.id = "seen"; out.textContent = JSON.stringify(seen); document.body.append(out);
});
</script></body>"""


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """``call("import", "kang2018")`` runs ``perturbcast import kang2018`` in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["perturbcast", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Done(code=int(ended.value.code or 0), out=out, err=err)

    return run


@pytest.fixture
def look_at(tmp_path):
    """``look_at(page)`` opens a file in a headless Chromium and tells what a person would see of it."""
    return lambda page, **options: _look_at(page, tmp_path, **options)


def _look_at(page, scratch, *, width=1366):
    """What a browser of ``width`` pixels shows of the file ``page``, and what it wrote on its console.

    The copy that is opened differs by the script that measures, which the page's own policy would not let run.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(
            f"no browser: none of {', '.join(BROWSERS)} is installed ('make test' as root on Debian installs one)"
        )
    text = page.read_text()
    assert POLICY in text, "the page forbids itself every request"
    text = text.replace(POLICY, f"{POLICY}; script-src 'unsafe-inline'", 1)
    copy = scratch / "page.html"
    copy.write_text(text.replace("</body>", MEASURE, 1))
    sized = (f"--user-data-dir={scratch / 'profile'}", f"--window-size={width},900", "--virtual-time-budget=5000")
    done = subprocess.run(
        [browser, *FLAGS, *sized, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page did not load: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])) | {"console": console}
