# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the README of every role from its argument specs, between two markers.

``role_docs.py`` writes, ``role_docs.py --check`` lists what differs and exits with 1. Text outside the markers is kept.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, List, Mapping, Union

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"
BEGIN = "<!-- begin: generated from meta/argument_specs.yml by `make docs` -->"
END = "<!-- end: generated -->"
MARKUP = re.compile(r"\b([CVOBIL])\(([^)]*)\)")


def plain(text: Union[str, List[str]]) -> List[str]:
    """Paragraphs of a description with Ansible's markup turned into Markdown."""
    paragraphs = [text] if isinstance(text, str) else list(text)
    return [MARKUP.sub(lambda found: "`%s`" % found[2].replace("|", "\\|"), " ".join(one.split())) for one in paragraphs]


def default_of(option: Mapping[str, Any]) -> str:
    """How the default reads in the table."""
    if option.get("required"):
        return "required"
    if "default" not in option:
        return "not set"
    value = option["default"]
    return "`%s`" % (str(value).lower() if isinstance(value, bool) else value)


def section(role: str, spec: Mapping[str, Any]) -> str:
    """The generated part: what the role is for and a table of its variables."""
    rows = [
        "| `%s` | %s | %s | %s |"
        % (
            name,
            "%s of %s" % (option["type"], option["elements"]) if "elements" in option else option.get("type", "str"),
            default_of(option),
            "<br>".join(plain(option["description"]) + choices(option)),
        )
        for name, option in spec.get("options", {}).items()
    ]
    lines = [
        BEGIN,
        "# %s" % spec["short_description"],
        "",
        *("%s\n" % paragraph for paragraph in plain(spec["description"])),
        *example(role, spec),
        "| variable | type | default | meaning |",
        "|-|-|-|-|",
        *rows,
        END,
    ]
    return "\n".join(lines)


def example(role: str, spec: Mapping[str, Any]) -> List[str]:
    """How a play uses the role of a component; the README of another role has its own example after the markers."""
    if "%s_enabled" % role not in spec.get("options", {}):
        return []
    return [
        "```yaml",
        "- hosts: kubeflow_clusters",
        "  gather_facts: false",
        "  roles:",
        "    - role: mlplatform.kubeflow.%s" % role,
        "```",
        "",
    ]


def choices(option: Mapping[str, Any]) -> List[str]:
    """One paragraph that lists the values that are allowed, if they are few."""
    allowed = option.get("choices")
    return ["One of %s." % ", ".join("`%s`" % one for one in allowed)] if allowed else []


def readme(role: Path) -> str:
    """The whole README of a role as it should be."""
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]
    made = section(role.name, spec)
    file = role / "README.md"
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    if BEGIN in old and END in old:
        return old[: old.index(BEGIN)] + made + old[old.index(END) + len(END) :]
    return made + "\n" + ("\n" + old if old else "")


def stale(*, write: bool) -> List[str]:
    """Names of the roles whose README differs; those are written if asked for."""
    found = []
    for role in sorted(path.parent.parent for path in ROLES.glob("*/meta/argument_specs.yml")):
        wanted = readme(role)
        file = role / "README.md"
        if not file.exists() or file.read_text(encoding="utf-8") != wanted:
            found.append(role.name)
            if write:
                file.write_text(wanted, encoding="utf-8")
    return found


def main() -> int:
    """The exit status."""
    check = "--check" in sys.argv[1:]
    found = stale(write=not check)
    for name in found:
        print("roles/%s/README.md %s" % (name, "differs: run 'make docs'" if check else "written"))
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
