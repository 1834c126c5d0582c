# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a plan: whole, safe and complete: it fetches nothing, nothing in it is code that was text, nothing is missing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import page, page_assets
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import DANGERS, STOPS, Verdict

VOID = {"meta", "link", "input", "br", "hr"}
HOSTILE = "</style></script><script>alert('x')</script><img src=\"https://example.com/x\" onerror='y'>&amp;"
Attributes = List[Tuple[str, Optional[str]]]


class Strict(HTMLParser):
    """Reads a page and refuses what is not closed in order.

    :ivar tags: every tag with its attributes; :ivar texts: the text between tags; :ivar codes: what stands in style and script.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: List[str] = []
        self.tags: List[Tuple[str, Dict[str, str]]] = []
        self.texts: List[str] = []
        self.codes: Dict[str, List[str]] = {"style": [], "script": []}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        """Remember it; its end has to come."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        assert len(dict(attrs)) == len(attrs), attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The end of what was opened last."""
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        """Text, or code."""
        if self.open and self.open[-1] in self.codes:
            self.codes[self.open[-1]].append(data)
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, in one piece."""
        return "".join(self.texts)

    def having(self, name: str) -> List[Dict[str, str]]:
        """The attributes of every tag that has this one."""
        return [attributes for _tag, attributes in self.tags if name in attributes]


def line(verdict: str, name: str, reason: str = "why", component: str = "katib", **rest: Any) -> Dict[str, Any]:
    """One object, removal or notice of a plan.json."""
    return {"object": "Deployment.apps kubeflow/" + name, "component": component, "verdict": verdict, "reason": reason, **rest}


def document(text: str = "some text", hops: int = 1, **rest: Any) -> Dict[str, Any]:
    """A plan.json with everything in it that there can be; ``text`` is said wherever a person may have written something."""
    names = ["v1.%d" % number for number in range(1, hops + 1)] or [""]
    change = {"path": "spec.x." + text, "before": "old " + text, "after": "new " + text}
    objects, removals, notices, lints = [], [], [], []
    for hop in names:
        mark = {"hop": hop} if hops else {}
        objects += [
            line("create", "made-" + hop, text, **mark),
            line("update", "edited-" + hop, text, changes=[change], **mark),
            line("conflict", "fought-" + hop, text, contested=[{"manager": text, "field": "." + text}], **mark),
            line("replace-needed", "anew-" + hop, text, allowed=True, **mark),
            line("replace-needed", "stuck-" + hop, text, allowed=False, **mark),
            line("unchanged", "same-" + hop, "", **mark),
        ]
        removals += [
            line("prune-safe", "gone-" + hop, text, counts={}, named=False, goes=True, **mark),
            line("prune-dangerous", "data-" + hop, text, counts={text: 3, "team-b": 2}, named=False, goes=False, **mark),
            line("prune-dangerous", "named-" + hop, text, counts={"": 1}, named=True, goes=True, **mark),
            line("keep", "kept-" + hop, text, counts={}, named=False, goes=False, **mark),
            line("orphan-webhook", "orphan-" + hop, text, counts={}, named=False, goes=True, **mark),
        ]
        notices += [
            line("older-sidecar", "pods-" + hop, text, counts={"team-%d" % at: at for at in range(1, 60)}, **mark),
            line("served-version-removed-while-used", "used-" + hop, text, component="", counts={"team-a": 1}, **mark),
        ]
        lints += [
            {"name": name + ":" + text, "component": "katib", "subject": text, "text": text, **mark} for name in ("rule", "hashed-name")
        ]
    found: Dict[str, Any] = {
        "schema": 1,
        "run": "run1",
        "started": "2026-01-02T03:04:05Z",
        "finished": "2026-01-02T03:04:06Z",
        "cluster": text,
        "version": "newest",
        "release": names[-1] or "26.03",
        "state": "ok",
        "counts": {},
        "summary": text,
        "objects": objects,
        "removals": removals,
        "notices": notices,
        "leftovers": [] if hops else [{"component": "katib", "object": "ConfigMap kubeflow/left-over"}],
        "lints": lints,
        "requests": {"requests": 12},
        "seconds": {},
        "errors": [],
        **rest,
    }
    if hops:
        found["from"] = "v1.0"
        found["hops"] = [
            {
                "from": "v1.%d" % (number - 1),
                "to": "v1.%d" % number,
                "counts": {},
                "summary": text,
                "notes": [text],
                "acks": [
                    {"name": "ack-one-" + text, "component": "katib", "text": text, "backup": True, "given": False},
                    {"name": "ack-two", "component": "katib", "text": text, "backup": False, "given": True},
                ],
                "one_way": [{"name": "door-" + text, "component": "katib", "why": text}],
            }
            for number in range(1, hops + 1)
        ]
    return found


CASES: Mapping[str, Dict[str, Any]] = {
    "running": {key: value for key, value in document(hops=0).items() if key in ("schema", "run", "started", "cluster", "version")}
    | {"state": "running"},
    "refused": document(
        hops=0,
        state="failed",
        objects=[],
        removals=[],
        notices=[],
        lints=[],
        requests={},
        errors=[{"text": HOSTILE, "cause": HOSTILE}],
    ),
    "site": document(hops=0, check=True),
    "hop": document(hops=1, offline=True),
    "way": document(hops=3),
    "hostile": document(HOSTILE, hops=2),
    "empty": document(hops=0, objects=[], removals=[], notices=[], lints=[]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_page_is_well_formed_and_fetches_nothing(case: str) -> None:
    """It is opened from a folder, a ticket or a mail: no address in it leads anywhere but to itself and to plan.json."""
    found = Strict(page.plan_page(CASES[case]))
    assert found.having("src") == [] and found.having("style") == [] and found.having("action") == []
    ids = [attributes["id"] for attributes in found.having("id")]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for attributes in found.having("href")}
    assert links <= {"data:,", "plan.json", *("#" + name for name in ids)}
    assert not [name for _tag, attributes in found.tags for name in attributes if name.startswith("on")]
    code = "".join(part for parts in found.codes.values() for part in parts)
    assert not re.search(r"https?:|url\(|@import|fetch|XMLHttp|import\(", code)


@pytest.mark.parametrize("case", CASES)
def test_only_our_own_style_and_script_are_code(case: str) -> None:
    """What the browser is told to take are the digests of these two, so that nothing else in the page can run."""
    found = Strict(page.plan_page(CASES[case]))
    (policy,) = [tag["content"] for tag in found.having("http-equiv")]
    for name in ("style", "script"):
        (code,) = found.codes[name]
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert "%s-src 'sha256-%s'" % (name, digest) in policy
    assert policy.startswith("default-src 'none'")
    assert [tag for tag, _attributes in found.tags if tag in ("script", "style", "img", "iframe", "object", "base")] == ["style", "script"]


def test_whatever_stands_in_a_plan_is_text(tmp_path: Path) -> None:
    """Names and reasons come from manifests, webhooks and other people: they are shown letter by letter."""
    found = Strict(page.plan_page(CASES["hostile"]))
    plain = Strict(page.plan_page(document("harmless", hops=2)))
    assert [tag for tag, _attributes in found.tags] == [tag for tag, _attributes in plain.tags]
    assert found.text.count(HOSTILE) == plain.text.count("harmless") > 40


@pytest.mark.parametrize("case", ["site", "hop", "way"])
def test_nothing_of_the_plan_is_missing(case: str) -> None:
    """Every object, removal, notice, field, manager, acknowledgement, door and note."""
    told = CASES[case]
    text = Strict(page.plan_page(told)).text
    for one in (*told["objects"], *told["removals"], *told["notices"], *told["leftovers"]):
        assert one["object"] in text, one
    for hop in told.get("hops", ()):
        for part in (*hop["acks"], *hop["one_way"]):
            assert part["name"] in text
    assert text.count("old some text") == text.count("new some text") == len([1 for one in told["objects"] if one.get("changes")])
    assert "owned by some text" in text
    assert "3 of" not in text  # the filter has said nothing yet


def test_what_could_lose_data_stands_above_what_merely_changes() -> None:
    """Nobody has to look for it."""
    text = Strict(page.plan_page(CASES["hop"])).text
    order = ["A person has to decide", "Dangerous", "kubeflow_acks", "No way back", "Deleted and made anew", "Removed", "Kept", "To know"]
    places = [text.index(title) for title in (*order, "Changes by component")]
    assert places == sorted(places)
    assert text.index("kubeflow/data-v1.1") < text.index("kubeflow/gone-v1.1") < text.index("kubeflow/edited-v1.1")


def test_without_its_script_everything_can_be_read() -> None:
    """The script only filters: its tools are hidden until it runs, and nothing else is."""
    found = Strict(page.plan_page(CASES["way"]))
    assert [attributes.get("id") for attributes in found.having("hidden")] == ["tools"]


def test_a_count_of_many_namespaces_is_cut_and_its_sum_is_not() -> None:
    """A thousand tenants do not make a page of a thousand lines."""
    text = Strict(page.plan_page(CASES["hop"])).text
    assert "1770 in 59 namespaces" in text and "and 19 more" in text and "team-59: 59" in text and "team-3: 3" not in text


def test_an_object_of_many_fields_is_cut() -> None:
    """The schema of a definition may change in a thousand places; plan.json has them."""
    change = [{"path": "spec.p%d" % number, "before": "a", "after": "b"} for number in range(500)]
    text = Strict(page.plan_page(document(hops=0, objects=[line("update", "x", changes=change)]))).text
    assert "500 fields" in text and "spec.p59" in text and "spec.p60" not in text and "and 440 more fields" in text


def test_what_is_code_is_whole() -> None:
    """The browser is asked in `make test-all` only; a bracket that is lost is found here."""
    for code in (page_assets.STYLE, page_assets.SCRIPT):
        assert [code.count(opened) - code.count(closed) for opened, closed in ("()", "{}", "[]")] == [0, 0, 0]


def test_every_verdict_has_its_look() -> None:
    """What stops a run or could lose data is red here as it is first in the text."""
    assert {verdict.value for verdict in Verdict} - set(page.LOOKS) == {"unchanged", "keep"}
    assert set(page.STOPS) == {verdict.value for verdict in STOPS}
    assert set(page.DANGERS) == {verdict.value for verdict in DANGERS}
    assert {name for name, look in page.LOOKS.items() if look == "stop"} == {*page.STOPS, *page.DANGERS}


def test_the_page_lies_beside_plan_json_from_the_first_moment(tmp_path: Path) -> None:
    """Yesterday's page would be taken for today's plan."""
    (tmp_path / "plan.html").write_text("yesterday", encoding="utf-8")
    results = page.PlanResults(str(tmp_path), "run1", {"cluster": "factory-1", "version": "newest"})
    results.start()
    assert "the run is under way" in Strict((tmp_path / "plan.html").read_text(encoding="utf-8")).text
    told = CASES["site"]
    results.finish("ok", {key: told[key] for key in told if key not in ("schema", "run", "started", "finished", "state")})
    text = Strict((tmp_path / "plan.html").read_text(encoding="utf-8")).text
    assert "kubeflow/data-" in text and "under way" not in text
    assert json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["state"] == "ok"


def test_without_a_folder_there_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept anywhere."""
    monkeypatch.chdir(tmp_path)
    results = page.PlanResults("", "run1", {"cluster": "factory-1", "version": "newest"})
    results.start()
    results.finish("ok", {"objects": []})
    assert list(tmp_path.iterdir()) == []
