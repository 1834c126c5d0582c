# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The looks of our pages and the little that their script does: all of it stands in the page, nothing is fetched."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --line: #d8dce3; --ink: #1b2027; --soft: #586170; --link: #0b57d0;
  --new: #14713a; --new-wash: #e3f4e9; --changed: #0b57d0; --changed-wash: #e6effc;
  --stop: #b3200f; --stop-wash: #fdebe8; --warn: #865500; --warn-wash: #fdf3da; --quiet: #586170; --quiet-wash: #eceff3;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "Liberation Mono", Menlo, Consolas, monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151a; --card: #1a1e25; --line: #333a45; --ink: #e4e7ec; --soft: #9aa4b2; --link: #8ab4f8;
    --new: #6fd396; --new-wash: #16301f; --changed: #8ab4f8; --changed-wash: #18273f;
    --stop: #ff9b8c; --stop-wash: #3d1813; --warn: #f0c05a; --warn-wash: #37290c; --quiet: #9aa4b2; --quiet-wash: #262c35;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 4rem; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 26px; line-height: 1.2; margin: 2px 0 6px; letter-spacing: -.01em; }
h2 { font-size: 20px; margin: 36px 0 4px; letter-spacing: -.01em; }
h3 { font-size: 15px; margin: 22px 0 8px; }
h1 .arrow, h2 .arrow { color: var(--soft); font-weight: 400; padding: 0 .15em; }
h3 .n { color: var(--soft); font-weight: 400; }
p { margin: 4px 0; max-width: 76ch; }
a { color: var(--link); }
.summary { margin-top: 14px; }
code, .name, .path, .line { font-family: var(--mono); font-size: 13px; overflow-wrap: anywhere; }
.eyebrow, .meta, .why, .note { color: var(--soft); }
.eyebrow { font-size: 13px; margin: 0; }
.meta { font-size: 13px; }
.meta span + span::before { content: "\\00b7"; padding: 0 .5em; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(112px, 1fr)); gap: 8px; margin: 16px 0 8px; padding: 0;
  list-style: none;
}
.tiles li {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px;
  border-left: 4px solid var(--quiet);
}
.tiles b { display: block; font-size: 24px; line-height: 1.15; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 13px; }
.tiles .new { border-left-color: var(--new); } .tiles .changed { border-left-color: var(--changed); }
.tiles .warn { border-left-color: var(--warn); } .tiles .stop { border-left-color: var(--stop); background: var(--stop-wash); }
.tiles .stop b { color: var(--stop); }
.tiles .zero { border-left-color: var(--line); background: none; } .tiles .zero b { color: var(--soft); font-weight: 400; }
.box { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 4px 14px; margin: 8px 0; }
.box.stop { border-color: var(--stop); border-left-width: 4px; }
.box.warn { border-color: var(--warn); border-left-width: 4px; }
.box > ul { list-style: none; margin: 0; padding: 0; }
.box > ul > li { padding: 8px 0; border-top: 1px solid var(--line); }
.box > ul > li:first-child { border-top: 0; }
.row { display: flex; flex-wrap: wrap; gap: 2px 10px; align-items: baseline; }
.owner { font-weight: 600; font-size: 14px; }
.row .why { flex: 1 1 24em; }
.names { list-style: none; margin: 4px 0 0; padding: 0; }
.names li { padding: 1px 0 1px 12px; border-left: 2px solid var(--line); }
.why { font-size: 14px; }
.chip {
  display: inline-block; font-size: 12px; line-height: 1.6; padding: 0 7px; border-radius: 4px; white-space: nowrap;
  background: var(--quiet-wash); color: var(--quiet);
}
.chip.new {
  background: var(--new-wash); color: var(--new); } .chip.changed { background: var(--changed-wash);
  color: var(--changed);
}
.chip.warn { background: var(--warn-wash); color: var(--warn); } .chip.stop { background: var(--stop-wash); color: var(--stop); }
.chips { display: inline-flex; flex-wrap: wrap; gap: 4px; }
.tools {
  position: sticky; top: 0; z-index: 2; background: var(--page); display: flex; flex-wrap: wrap; gap: 8px;
  align-items: center; padding: 10px 0; margin-top: 12px; border-bottom: 1px solid var(--line);
}
.tools[hidden] { display: none; }
.tools input {
  flex: 1 1 14em; min-width: 0; font: inherit; padding: 6px 10px; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px;
}
.tools button {
  font: inherit; font-size: 13px; padding: 5px 10px; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; cursor: pointer;
}
.tools button[aria-pressed=true] { border-color: var(--link); color: var(--link); box-shadow: inset 0 0 0 1px var(--link); }
.tools output { color: var(--soft); font-size: 13px; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
details > summary { cursor: pointer; }
.component { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 6px 0; }
.component > summary {
  display: grid; grid-template-columns: 1.2em 12em 16em 1fr; gap: 10px; align-items: center; padding: 8px 14px;
  list-style: none;
}
.component > summary::-webkit-details-marker, .object > summary::-webkit-details-marker { display: none; }
.component > summary::before, .object > summary::before { content: "\\25b8"; color: var(--soft); }
.component[open] > summary::before, .object[open] > summary::before { content: "\\25be"; }
.component > summary .chips { justify-content: flex-end; }
.component > summary b { font-weight: 600; overflow-wrap: anywhere; }
.component svg { width: 100%; height: 8px; display: block; border-radius: 2px; background: var(--quiet-wash); }
rect.new {
  fill: var(--new); } rect.changed { fill: var(--changed); } rect.warn { fill: var(--warn);
  } rect.stop { fill: var(--stop);
}
.component > .inside { border-top: 1px solid var(--line); padding: 4px 14px 10px; }
.object { border-bottom: 1px solid var(--line); padding: 6px 0; }
.object:last-child { border-bottom: 0; }
.object > summary, .plain { display: flex; flex-wrap: wrap; gap: 2px 10px; align-items: baseline; list-style: none; }
.plain { padding-left: 1.55em; }
.object .name { flex: 1 1 24em; }
.kind { color: var(--soft); }
.more { color: var(--soft); font-size: 13px; }
.field { margin: 8px 0 8px 1.6em; }
.path { color: var(--soft); }
.line { display: block; padding: 1px 8px; white-space: pre-wrap; }
.line.was { background: var(--stop-wash); } .line.was::before { content: "- "; color: var(--stop); }
.line.will { background: var(--new-wash); } .line.will::before { content: "+ "; color: var(--new); }
.same { color: var(--soft); padding: 6px 0 0; font-size: 13px; }
.box > details { padding: 8px 0; border-top: 1px solid var(--line); }
.box > details:first-child { border-top: 0; }
.box > details > ul { list-style: none; margin: 0; padding: 0; }
.same ul, .counts ul { columns: 2; margin: 6px 0; padding-left: 1.2em; }
.counts { font-size: 13px; color: var(--soft); }
.hops { margin: 12px 0 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: 8px; }
.hops a {
  display: block; padding: 6px 12px; border: 1px solid var(--line); border-radius: 6px; background: var(--card);
  text-decoration: none;
}
.hop + .hop { margin-top: 44px; border-top: 2px solid var(--line); }
.given { color: var(--new); } .wanting { color: var(--stop); font-weight: 600; }
.gone { display: none !important; }
footer { color: var(--soft); font-size: 13px; padding-top: 28px; padding-bottom: 40px; }
@media (max-width: 640px) {
  main, header, footer { padding-left: 14px; padding-right: 14px; }
  h1 { font-size: 22px; }
  .tiles { grid-template-columns: repeat(3, 1fr); gap: 6px; }
  .tiles li { padding: 6px 8px; }
  .tiles b { font-size: 20px; }
  .component > summary { grid-template-columns: 1em 1fr; }
  .component > summary svg, .component > summary .chips { grid-column: 2; justify-content: flex-start; }
  .object .name { flex-basis: 100%; order: 2; }
  .object > summary .why, .plain .why { order: 3; }
  .field { margin-left: 0; }
  .plain { padding-left: 0; }
  .same ul, .counts ul { columns: 1; }
  .tools { position: static; }
}
@media print { .tools { display: none; } body { background: none; } }
"""

SCRIPT = """
(function () {
  var tools = document.getElementById("tools");
  if (!tools) { return; }
  var box = tools.querySelector("input"), said = tools.querySelector("output");
  var words = tools.querySelectorAll("button[data-verdict]"), all = tools.querySelector("button[data-all]");
  var objects = Array.prototype.slice.call(document.querySelectorAll("[data-v]"));
  var texts = objects.map(function (one) { return one.textContent.toLowerCase(); });
  function show() {
    var asked = box.value.trim().toLowerCase(), on = [], shown = 0;
    words.forEach(function (one) { if (one.getAttribute("aria-pressed") === "true") { on.push(one.dataset.verdict); } });
    var some = asked || on.length;
    objects.forEach(function (one, at) {
      var fits = (!asked || texts[at].indexOf(asked) >= 0) && (!on.length || on.indexOf(one.dataset.v) >= 0);
      one.classList.toggle("gone", !fits);
      if (fits) { shown += 1; }
    });
    document.querySelectorAll(".component, .group").forEach(function (one) {
      var left = one.querySelector("[data-v]:not(.gone)");
      one.classList.toggle("gone", Boolean(some && !left));
      if (some && one.tagName === "DETAILS") { one.open = Boolean(left); }
    });
    document.querySelectorAll(".same").forEach(function (one) { one.classList.toggle("gone", Boolean(some)); });
    said.textContent = some ? shown + " of " + objects.length + " shown" : "";
  }
  box.addEventListener("input", show);
  words.forEach(function (one) {
    one.addEventListener("click", function () {
      one.setAttribute("aria-pressed", one.getAttribute("aria-pressed") === "true" ? "false" : "true");
      show();
    });
  });
  all.addEventListener("click", function () {
    var open = all.getAttribute("aria-pressed") !== "true";
    all.setAttribute("aria-pressed", open ? "true" : "false");
    document.querySelectorAll(".component, .object").forEach(function (one) {
      if (one.tagName === "DETAILS") { one.open = open; }
    });
  });
  tools.hidden = false;
})();
"""
