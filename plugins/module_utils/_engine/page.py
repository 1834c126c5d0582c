# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as a page for a browser: one file that fetches nothing, made from ``plan.json`` alone, every text escaped."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple

from .linting import HASHED_NAME
from .page_assets import SCRIPT, STYLE
from .results import Results, write_file

Entry = Mapping[str, Any]

# How a verdict looks; what is not here is quiet.
LOOKS = {
    "create": "new",
    "update": "changed",
    "drift": "changed",
    "adopt": "changed",
    "restart": "changed",
    "replace-needed": "warn",
    "older-sidecar": "warn",
    "patch-matches-nothing": "warn",
    "storage-version-move": "changed",
    "regenerate": "changed",
    "prune-safe": "warn",
    "orphan-webhook": "warn",
    "prune-dangerous": "stop",
    "served-version-removed-while-used": "stop",
    "api-not-served": "stop",
    "adopt-refused": "stop",
    "conflict": "stop",
    "refused": "stop",
}
STOPS = ("adopt-refused", "conflict", "refused")
DANGERS = ("prune-dangerous", "served-version-removed-while-used", "api-not-served")
UNCHANGED = "unchanged"
HASHED = HASHED_NAME + ":"
# So many namespaces of a count, and fields of an object, are listed; plan.json has them all.
NAMESPACES, FIELDS = 40, 60


@dataclass(frozen=True)
class Part:
    """One step of the way, or the whole plan where there is one step only.

    :ivar hop: what plan.json says of the step; empty where releases do not change.
    """

    hop: Entry
    objects: Sequence[Entry]
    removals: Sequence[Entry]
    notices: Sequence[Entry]
    lints: Sequence[Entry]

    @property
    def anchor(self) -> str:
        """Where the page has it."""
        return "to-%s" % self.hop["to"] if self.hop else "plan"

    @property
    def stops(self) -> List[Entry]:
        """What a person has to decide."""
        return [one for one in self.objects if one["verdict"] in STOPS or one.get("allowed") is False]

    @property
    def dangers(self) -> List[Entry]:
        """What could lose data."""
        return [one for one in (*self.removals, *self.notices) if one["verdict"] in DANGERS]


class PlanResults(Results):
    """``plan.json``, and beside it ``plan.html`` with the same in it.

    :param directory: the cluster's folder; "" keeps nothing.
    """

    def __init__(self, directory: str, run_id: str, head: Mapping[str, Any]) -> None:
        super().__init__(directory, "plan", run_id, head)

    def _write(self, document: Mapping[str, Any]) -> None:
        super()._write(document)
        if self.path:
            write_file(Path(self.path).with_suffix(".html"), plan_page(document))


def plan_page(document: Entry) -> str:
    """The page of a ``plan.json``, also of one that says that its run is under way or failed."""
    parts = _parts(document)
    title = _title(document)
    something = bool(document.get("objects") or document.get("removals"))
    body = [
        "<header>",
        _heading(document),
        _hop_links(parts) if len(parts) > 1 else "",
        _tiles(parts) if something else "",
        "</header>",
        "<main>",
        _errors(document.get("errors") or []),
        _tools(parts) if something else "",
        *[_part(part, len(parts) > 1) for part in parts],
        _leftovers(document.get("leftovers") or []),
        "</main>",
        '<footer>Made from <a href="plan.json">plan.json</a> by mlplatform.kubeflow. Nothing on this page is fetched.</footer>',
    ]
    return _document(title, "\n".join(line for line in body if line))


# ------------------------------------------------------------------ the frame


def _document(title: str, body: str) -> str:
    policy = "default-src 'none'; img-src data:; style-src '%s'; script-src '%s'" % (_digest(STYLE), _digest(SCRIPT))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="%s">\n<link rel="icon" href="data:,">\n'
        "<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n%s\n<script>%s</script>\n</body>\n</html>\n"
    ) % (escape(policy), escape(title), STYLE, body, SCRIPT)


def _digest(text: str) -> str:
    """What a content security policy calls a text: nothing but this style and this script is taken by the browser."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _parts(document: Entry) -> List[Part]:
    """The steps of the way, each with its lines."""
    names = ("objects", "removals", "notices", "lints")
    hops = document.get("hops") or []
    if not hops:
        return [Part({}, *[document.get(name) or [] for name in names])]
    return [Part(hop, *[[one for one in document[name] if one.get("hop") == hop["to"]] for name in names]) for hop in hops]


def _title(document: Entry) -> str:
    way = " to ".join(part for part in (document.get("from"), document.get("release") or document.get("version")) if part)
    return "Plan: Kubeflow %s, %s" % (way, document["cluster"])


def _way(*releases: str) -> str:
    return '<span class="arrow"> \u2192 </span>'.join(escape(one) for one in releases if one)


def _heading(document: Entry) -> str:
    where = "compared without a cluster" if document.get("offline") else "cluster %s" % document["cluster"]
    hops = document.get("hops") or []
    releases = [document.get("from", "")] + [hop["to"] for hop in hops] if hops else [document.get("release") or document["version"]]
    facts = [
        {"running": "the run is under way, or was killed", "failed": "failed"}.get(document["state"], ""),
        "check mode" if document.get("check") else "",
        str(document.get("finished") or document["started"]),
        "run %s" % document["run"],
    ]
    requests = (document.get("requests") or {}).get("requests")
    if requests:
        facts.append("%d requests" % requests)
    meta = "".join("<span>%s</span>" % escape(fact) for fact in facts if fact)
    return '<p class="eyebrow">Plan, %s</p>\n<h1>Kubeflow %s</h1>\n<p class="meta">%s</p>' % (escape(where), _way(*releases), meta)


def _hop_links(parts: Sequence[Part]) -> str:
    items = []
    for part in parts:
        dangers = sum(1 for one in part.dangers if not one.get("named"))
        acks = sum(1 for ack in part.hop.get("acks", ()) if not ack["given"])
        marks = ["%d %s" % (count, word) for count, word in ((dangers, "dangerous"), (acks, "to acknowledge")) if count]
        chips = "".join(' <span class="chip stop">%s</span>' % mark for mark in marks)
        items.append('<li><a href="#%s">%s%s</a></li>' % (escape(part.anchor), _way(part.hop["from"], part.hop["to"]), chips))
    return '<nav aria-label="Hops"><ul class="hops">%s</ul></nav>' % "".join(items)


def _tiles(parts: Sequence[Part]) -> str:
    """The summary at a glance: what needs a person comes first."""
    objects = [one for part in parts for one in part.objects]
    removals = [one for part in parts for one in part.removals]
    counts = _counted(objects)
    left = [one for one in removals if not one["goes"]]
    dangers = [one for part in parts for one in part.dangers if not one.get("named")]
    acks = [ack for part in parts for ack in part.hop.get("acks", ()) if not ack["given"]]
    tiles = [
        (sum(len(part.stops) for part in parts), "to decide", "stop"),
        (len(acks), "to acknowledge", "stop"),
        (len(dangers), "dangerous", "stop"),
        (counts.get("replace-needed", 0), "replaced", "warn"),
        (len(removals) - len(left), "removed", "warn"),
        (counts.get("create", 0), "new", "new"),
        (sum(counts.get(name, 0) for name in ("update", "drift", "adopt")), "changed", "changed"),
        (counts.get("restart", 0), "restarted", "changed"),
        (sum(1 for one in left if one["verdict"] not in DANGERS), "kept", "quiet"),
        (counts.get(UNCHANGED, 0), "unchanged", "quiet"),
    ]
    shown = [tile for tile in tiles if tile[0] or tile[1] in ("dangerous", "removed", "new", "changed", "unchanged")]
    items = ['<li class="%s"><b>%d</b><span>%s</span></li>' % (look if count else "zero", count, word) for count, word, look in shown]
    return '<ul class="tiles" aria-label="Summary">%s</ul>' % "".join(items)


def _counted(entries: Iterable[Entry]) -> Dict[str, int]:
    counts: Dict[str, int] = {}
    for one in entries:
        counts[one["verdict"]] = counts.get(one["verdict"], 0) + 1
    return counts


def _errors(errors: Sequence[Entry]) -> str:
    if not errors:
        return ""
    items = ['<li><span class="line">%s</span></li>' % escape(one["text"]) for one in errors]
    return '<section><h3>What ended the run</h3><div class="box stop"><ul>%s</ul></div></section>' % "".join(items)


def _leftovers(leftovers: Sequence[Entry]) -> str:
    """What site does not touch though nobody wants it."""
    if not leftovers:
        return ""
    rows = [
        '<li><span class="name">%s</span> <span class="kind">%s</span></li>' % (_name(one["object"]), escape(one["component"]))
        for one in leftovers
    ]
    return '<section>%s<div class="box"><ul class="names">%s</ul></div></section>' % (
        _heading3("Wanted no more, left alone by site", len(leftovers)),
        "".join(rows),
    )


def _tools(parts: Sequence[Part]) -> str:
    """Filters; hidden until the script shows them, as they do nothing without it."""
    counts = _counted(one for part in parts for one in (*part.objects, *part.removals, *part.notices))
    buttons = [
        '<button type="button" data-verdict="%s" aria-pressed="false">%s <span class="kind">%d</span></button>'
        % (escape(name), escape(name), count)
        for name, count in counts.items()
        if name != UNCHANGED
    ]
    return (
        '<div class="tools" id="tools" role="search" hidden><input type="search" aria-label="Filter objects and fields" '
        'placeholder="Filter: a name, a kind, an image, a field">%s'
        '<button type="button" data-all aria-pressed="false">open all</button><output></output></div>' % "".join(buttons)
    )


# ------------------------------------------------------------------ one step


def _part(part: Part, several: bool) -> str:
    gone = [one for one in part.removals if one["goes"]]
    kept = [one for one in part.removals if not one["goes"] and one["verdict"] not in DANGERS]
    replaced = [one for one in part.objects if one["verdict"] == "replace-needed" and one.get("allowed") is not False]
    told = [one for one in part.notices if one["verdict"] not in DANGERS]
    sections = [
        "<h2>%s</h2>" % _way(part.hop["from"], part.hop["to"]) if several else "",
        '<p class="summary">%s</p>' % escape(part.hop["summary"]) if part.hop else "",
        _listing("A person has to decide", part.stops, "stop"),
        _listing("Dangerous: data or an API in use would go", [one for one in part.dangers if one not in gone], "stop"),
        _acks(part.hop),
        _doors(part.hop),
        _listing("Deleted and made anew", replaced, "warn"),
        _listing("Removed", gone, "warn"),
        _listing("Kept", kept, ""),
        _listing("To know", told, ""),
        _lints(part.lints),
        _notes(part.hop),
        _components(part),
    ]
    return '<section class="hop" id="%s">\n%s\n</section>' % (escape(part.anchor), "\n".join(one for one in sections if one))


def _heading3(title: str, count: int) -> str:
    return '<h3>%s <span class="n">%d</span></h3>' % (escape(title), count)


def _listing(title: str, entries: Sequence[Entry], look: str) -> str:
    """A box with one row for each component, verdict and reason, and the objects that these are said of."""
    if not entries:
        return ""
    groups: Dict[Tuple[str, str, str], List[Entry]] = {}
    for one in entries:
        groups.setdefault((one["component"], one["verdict"], one["reason"]), []).append(one)
    rows = []
    for (component, verdict, reason), members in groups.items():
        head = '%s<span class="owner">%s</span><span class="why">%s</span>' % (
            _chip(verdict),
            escape(component or "tenants"),
            escape(reason),
        )
        names = "".join(
            '<li data-v="%s"><span class="name">%s</span>%s%s%s</li>'
            % (
                escape(verdict),
                _name(one["object"]),
                ' <span class="more">named by you</span>' if one.get("named") else "",
                _counts(one.get("counts") or {}),
                _fields(one),
            )
            for one in members
        )
        rows.append('<li class="group"><div class="row">%s</div><ul class="names">%s</ul></li>' % (head, names))
    return '%s<div class="box %s"><ul>%s</ul></div>' % (_heading3(title, len(entries)), look, "".join(rows))


def _acks(hop: Entry) -> str:
    acks = hop.get("acks") or []
    if not acks:
        return ""
    rows = []
    for ack in acks:
        said = '<span class="given">given</span>' if ack["given"] else '<span class="wanting">not given</span>'
        backup = " A recorded backup of the component answers it too." if ack["backup"] else ""
        rows.append(
            '<li><div class="row">%s<span class="name">%s</span><span class="owner">%s</span></div><p class="why">%s%s</p></li>'
            % (said, escape(ack["name"]), escape(ack["component"]), escape(" ".join(ack["text"].split())), backup)
        )
    look = "warn" if all(ack["given"] for ack in acks) else "stop"
    return '%s<div class="box %s"><ul>%s</ul></div>' % (_heading3("To say in kubeflow_acks", len(acks)), look, "".join(rows))


def _doors(hop: Entry) -> str:
    doors = hop.get("one_way") or []
    rows = [
        '<li><div class="row"><span class="name">%s</span><span class="owner">%s</span></div><p class="why">%s</p></li>'
        % (escape(door["name"]), escape(door["component"]), escape(" ".join(door["why"].split())))
        for door in doors
    ]
    return '%s<div class="box warn"><ul>%s</ul></div>' % (_heading3("No way back", len(doors)), "".join(rows)) if rows else ""


def _lints(lints: Sequence[Entry]) -> str:
    """What is wrong in the release itself; what nobody has to do anything about is folded away."""
    if not lints:
        return ""
    told = [_lint(one) for one in lints if not one["name"].startswith(HASHED)]
    folded = [_lint(one) for one in lints if one["name"].startswith(HASHED)]
    box = "<ul>%s</ul>" % "".join(told) if told else ""
    if folded:
        box += "<details><summary>names that change with their content: %d</summary><ul>%s</ul></details>" % (len(folded), "".join(folded))
    return '%s<div class="box">%s</div>' % (_heading3("Wrong in the release itself", len(lints)), box)


def _lint(one: Entry) -> str:
    said = "%s: %s" % (one["subject"], one["text"])
    return '<li><div class="row"><span class="name">%s</span></div><p class="why">%s</p></li>' % (escape(one["name"]), escape(said))


def _notes(hop: Entry) -> str:
    notes = hop.get("notes") or []
    rows = ["<li>%s</li>" % escape(" ".join(note.split())) for note in notes]
    return '%s<div class="box"><ul>%s</ul></div>' % (_heading3("Notes", len(notes)), "".join(rows)) if rows else ""


def _chip(verdict: str) -> str:
    return '<span class="chip %s">%s</span>' % (LOOKS.get(verdict, "quiet"), escape(verdict))


def _name(full: str) -> str:
    kind, _space, path = full.partition(" ")
    plain, dot, group = kind.partition(".")
    return '%s<span class="kind">%s</span> %s' % (escape(plain), escape(dot + group), escape(path))


def _counts(counts: Mapping[str, int]) -> str:
    """How many things are concerned, by namespace, the fullest first."""
    ranked = sorted(((name, count) for name, count in counts.items() if name), key=lambda pair: (-pair[1], pair[0]))
    total = sum(counts.values())
    if not counts:
        return ""
    if not ranked:
        return '<p class="counts">%d in all</p>' % total
    head = "%d in %d namespace%s" % (total, len(ranked), "" if len(ranked) == 1 else "s")
    if len(ranked) <= 3:
        return '<p class="counts">%s: %s</p>' % (head, ", ".join("%s (%d)" % (escape(name), count) for name, count in ranked))
    items = ["<li>%s: %d</li>" % (escape(name), count) for name, count in ranked[:NAMESPACES]]
    if len(ranked) > NAMESPACES:
        items.append("<li>and %d more</li>" % (len(ranked) - NAMESPACES))
    return '<details class="counts"><summary>%s</summary><ul>%s</ul></details>' % (head, "".join(items))


# ------------------------------------------------------------------ by component


def _components(part: Part) -> str:
    grouped: Dict[str, List[Entry]] = {}
    for one in part.objects:
        grouped.setdefault(one["component"], []).append(one)
    if not grouped:
        return ""
    return "%s\n%s" % (
        _heading3("Changes by component", len(grouped)),
        "\n".join(_component(name, entries) for name, entries in grouped.items()),
    )


def _component(name: str, entries: Sequence[Entry]) -> str:
    same = [one for one in entries if one["verdict"] == UNCHANGED]
    other = [one for one in entries if one["verdict"] != UNCHANGED]
    counts = _counted(other)
    chips = [
        '<span class="chip %s">%d %s</span>' % (LOOKS.get(verdict, "quiet"), count, escape(verdict)) for verdict, count in counts.items()
    ]
    chips.append('<span class="chip quiet">%d unchanged</span>' % len(same))
    names = "".join("<li>%s</li>" % _name(one["object"]) for one in same)
    rest = '<details class="same"><summary>%d unchanged</summary><ul>%s</ul></details>' % (len(same), names) if same else ""
    return (
        '<details class="component"><summary><b>%s</b>%s<span class="chips">%s</span></summary><div class="inside">%s%s</div></details>'
        % (escape(name), _bar(counts, len(entries)), "".join(chips), "".join(_object(one) for one in other), rest)
    )


def _bar(counts: Mapping[str, int], total: int) -> str:
    """How much of the component changes, and how."""
    at, pieces = 0.0, []
    for look in ("new", "changed", "warn", "stop"):
        width = 100.0 * sum(count for verdict, count in counts.items() if LOOKS.get(verdict) == look) / total
        if width:
            pieces.append('<rect class="%s" x="%.2f" y="0" width="%.2f" height="8"></rect>' % (look, at, width))
        at += width
    return '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">%s</svg>' % "".join(pieces)


def _object(one: Entry) -> str:
    fields = _fields(one)
    reason = '<span class="why">%s</span>' % escape(one["reason"]) if one["reason"] else ""
    head = '%s<span class="name">%s</span>%s' % (_chip(one["verdict"]), _name(one["object"]), reason)
    verdict = escape(one["verdict"])
    if not fields:
        return '<div class="object" data-v="%s"><div class="plain">%s</div></div>' % (verdict, head)
    count = len(one.get("changes") or ())
    more = '<span class="more">%d field%s</span>' % (count, "" if count == 1 else "s") if count else ""
    return '<details class="object" data-v="%s"><summary>%s%s</summary>%s</details>' % (verdict, head, more, fields)


def _fields(one: Entry) -> str:
    """The fields that change as a diff has them, and those that others own."""
    found = [
        '<div class="field"><span class="path">%s</span><span class="line was">%s</span><span class="line will">%s</span></div>'
        % (escape(change["path"]), escape(change["before"]), escape(change["after"]))
        for change in (one.get("changes") or ())[:FIELDS]
    ]
    more = len(one.get("changes") or ()) - FIELDS
    if more > 0:
        found.append('<p class="more">and %d more fields, all of them in plan.json</p>' % more)
    found += [
        '<div class="field"><span class="path">%s</span><p class="why">owned by %s</p></div>'
        % (escape(item["field"]), escape(item["manager"]))
        for item in one.get("contested") or ()
    ]
    return "".join(found)
