# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plan.html in Chromium: it fits wide and narrow windows, its script runs under its own policy, and filters. In `make test-all`."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._plan_operation import run_plan

from .support import CACHE, EXHAUSTIVE, MIRROR

# The page in a frame of this width, and around it a script that looks at it and writes down what it saw.
FRAME = """<!DOCTYPE html><html><body><iframe id="f" width="%d" height="900" srcdoc="%s"></iframe><pre id="out"></pre><script>
var f = document.getElementById("f"), bad = [];
f.addEventListener("load", function () {
  var d = f.contentDocument, seen = {}, root = d.documentElement;
  d.addEventListener("securitypolicyviolation", function (e) { bad.push(e.violatedDirective); });
  function shown() { return d.querySelectorAll("[data-v]:not(.gone)").length; }
  function over() { return root.scrollWidth - root.clientWidth; }
  seen.tools = !d.getElementById("tools").hidden;
  seen.styled = f.contentWindow.getComputedStyle(d.querySelector(".tiles")).display;
  seen.closed = over();
  d.querySelector("button[data-all]").click();
  seen.open = over();
  d.querySelector("button[data-all]").click();
  seen.all = shown();
  var box = d.querySelector("#tools input");
  box.value = "minio-pvc"; box.dispatchEvent(new Event("input"));
  seen.named = shown();
  box.value = ""; box.dispatchEvent(new Event("input"));
  d.querySelector("button[data-verdict='prune-dangerous']").click();
  seen.dangerous = shown();
  d.querySelector("button[data-verdict='prune-dangerous']").click();
  seen.again = shown();
  seen.fetched = f.contentWindow.performance.getEntriesByType("resource").map(function (e) { return e.name; });
  seen.violations = bad;
  document.getElementById("out").textContent = JSON.stringify(seen);
});
</script></body></html>
"""


@pytest.fixture(name="document", scope="module")
def _document(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    """A plan over a hop that has everything in it; "page" is its page."""
    folder = tmp_path_factory.mktemp("page")
    arguments = {"from_version": "v1.10.2", "version": "v1.11.0", "mirror": MIRROR, "cache_dir": str(CACHE), "results_dir": str(folder)}
    answer = run_plan(arguments, "localhost", False, Silent(), None)
    assert not answer["failed"], answer["msg"]
    found: Dict[str, Any] = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    return {**found, "page": (folder / "plan.html").read_text(encoding="utf-8")}


def browser() -> str:
    """A Chromium; `make test-all` has one installed by scripts/chromium.sh."""
    found = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), "")
    assert found, "no Chromium: run scripts/chromium.sh"
    return found


def look(page: str, width: int, folder: Path) -> Dict[str, Any]:
    """What the script around the page saw."""
    outer = folder / "outer.html"
    outer.write_text(FRAME % (width, html.escape(page)), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=%s" % (folder / "profile"), "--virtual-time-budget=20000")
    command = [browser(), *options, "--window-size=1400,1000", "--dump-dom", outer.as_uri()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False)
    written = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert written and written.group(1), done.stderr[-3000:]
    seen: Dict[str, Any] = json.loads(html.unescape(written.group(1)))
    return seen


if EXHAUSTIVE:

    @pytest.mark.parametrize("width", [1280, 400])
    def test_the_page_in_a_browser(width: int, document: Dict[str, Any], tmp_path: Path) -> None:
        """Nothing is wider than the window, open or closed; the filter shows what was asked for, and all of it again."""
        seen = look(document["page"], width, tmp_path)
        assert seen["styled"] == "grid" and seen["tools"] is True
        assert (seen["closed"], seen["open"]) == (0, 0)
        assert seen["violations"] == [] and seen["fetched"] == []
        changed = sum(1 for one in document["objects"] if one["verdict"] != "unchanged")
        assert seen["all"] == seen["again"] == changed + len(document["removals"]) + len(document["notices"])
        assert 0 < seen["named"] < 20
        assert seen["dangerous"] == sum(1 for one in document["removals"] if one["verdict"] == "prune-dangerous")
