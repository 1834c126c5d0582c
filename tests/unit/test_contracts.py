# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said in two places says the same: defaults, argument specs, READMEs, release data, metadata."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set, Tuple

import jinja2
import pytest
import yaml

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue

ROOT = Path(__file__).resolve().parents[2]
ROLES = {path.parent.parent.name: path.parent.parent for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))}
COMPONENTS = sorted({name for release in Catalogue.load().names for name in Catalogue.load().release(release).components})
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
FORBIDDEN = ("retries", "until", "delay", "ignore_errors", "failed_when", "set_fact", "pause", "no_log")
PLAY_KEYS = {"block", "rescue", "always", "when", "name", "vars", "loop", "loop_control", "tags", "register", "args", "become"}
PLAY_KEYS |= {"module_defaults", "environment", "changed_when", "check_mode", "delegate_to", "run_once", "notify", "listen", "diff"}


@functools.cache
def load(path: Path) -> Any:
    """A YAML file of the repo, not to be changed; nothing for one that does not exist."""
    return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader) if path.exists() else None


def options(role: str) -> Dict[str, Any]:
    """The variables of a role as its argument specs explain them."""
    found: Dict[str, Any] = load(ROLES[role] / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options", {})
    return found


def defaults(role: str) -> Dict[str, Any]:
    """The defaults of a role as they are when nobody sets a kubeflow_ variable."""
    environment = jinja2.Environment(undefined=jinja2.ChainableUndefined)
    environment.globals["lookup"] = lambda *_terms: ""
    found = load(ROLES[role] / "defaults" / "main.yml") or {}
    return {
        name: yaml.safe_load(environment.from_string(value).render() or "''") if isinstance(value, str) else value
        for name, value in found.items()
    }


def tasks(value: Any) -> Iterator[Dict[str, Any]]:
    """Every task of a file of tasks or plays, those of blocks too."""
    for entry in value or []:
        for part in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from tasks(entry.get(part) if isinstance(entry.get(part), list) else [])
        if not {"hosts", "block", "import_playbook", "ansible.builtin.import_playbook"} & set(entry):
            yield entry


def all_tasks() -> List[Tuple[str, Dict[str, Any]]]:
    """The tasks of every role and playbook, with the file that each is in."""
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/handlers/*.yml"), *PLAYBOOKS]
    return [(str(path.relative_to(ROOT)), task) for path in sorted(files) for task in tasks(load(path))]


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_explained_and_every_explained_default_is_real(role: str) -> None:
    """A default that the argument specs tell and the role does not have misleads whoever reads the README."""
    told = {name: option["default"] for name, option in options(role).items() if "default" in option}
    derived = {name for name, option in options(role).items() if "Left unset" in str(option["description"])}
    assert {name: value for name, value in defaults(role).items() if name not in derived} == told
    assert not set(defaults(role)) - set(options(role))


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_name_of_their_role(role: str) -> None:
    """Roles of several collections share one name space."""
    assert [name for name in options(role) if not name.startswith(role + "_")] == []
    hidden = load(ROLES[role] / "vars" / "main.yml") or {}
    assert [name for name in hidden if not name.startswith("__%s_" % role)] == []


def test_readmes_say_what_the_argument_specs_say() -> None:
    """The READMEs are written by `make docs` and by nothing else."""
    spec = importlib.util.spec_from_file_location("role_docs", ROOT / "scripts" / "role_docs.py")
    assert spec and spec.loader
    role_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(role_docs)
    assert role_docs.stale(write=False) == []


def test_every_component_has_a_role_and_no_role_is_left_over() -> None:
    """A component of release data without a role cannot be declared; one without data cannot be installed."""
    with_switch = {role for role in ROLES if "%s_enabled" % role in options(role)}
    assert sorted(with_switch) == COMPONENTS
    assert load(ROLES["platform"] / "vars" / "main.yml")["__platform_roles"] == COMPONENTS


@pytest.mark.parametrize("component", COMPONENTS)
def test_component_roles_differ_in_words_only(component: str) -> None:
    """What a component is belongs in release data: a role that does more would be a second place for it."""
    assert {name.replace(component + "_", "", 1) for name in options(component)} == {"enabled", "patches", "images", "replicas"}
    assert defaults(component) == {component + "_patches": [], component + "_images": {}, component + "_replicas": {}}
    (task,) = load(ROLES[component] / "tasks" / "main.yml")
    assert task["ansible.builtin.include_role"] == {"name": "mlplatform.kubeflow.component"}
    assert task["vars"] == {"component_name": component}


def test_the_action_group_holds_the_modules_that_talk_to_a_cluster() -> None:
    """A module of the group gets the group's connection; one that is left out would use another cluster."""
    group = load(ROOT / "meta" / "runtime.yml")["action_groups"]["kubeflow"]
    modules = sorted((ROOT / "plugins" / "modules").glob("*.py"))
    assert group == [path.stem for path in modules if "mlplatform.kubeflow.run.cluster" in path.read_text(encoding="utf-8")]
    assert {name for name in group if not (ROOT / "plugins" / "action" / (name + ".py")).exists()} == set()


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.name)
def test_playbooks_are_the_life_cycle_and_nothing_else(playbook: Path) -> None:
    """Logic in a playbook is out of reach for whoever uses the roles."""
    assert len(playbook.read_text(encoding="utf-8").splitlines()) <= 25
    assert all(play.get("gather_facts") is False for play in load(playbook) if "hosts" in play)


def test_nothing_waits_by_repetition_and_nothing_is_swallowed() -> None:
    """Waiting belongs to the engine, which says what it waits for; facts are no interface; errors are shown."""
    keys = [(file, key.rsplit(".", 1)[-1]) for file, task in all_tasks() for key in task]
    assert [(file, key) for file, key in keys if key in FORBIDDEN] == []


def test_every_action_has_its_full_name() -> None:
    """A short name may be another collection's."""
    named = [(file, key) for file, task in all_tasks() for key in task if key not in PLAY_KEYS]
    assert [(file, key) for file, key in named if key.count(".") < 2] == []


def test_collection_wide_variables_are_read_in_defaults_only() -> None:
    """One place to see which variable of the inventory feeds which variable of a role."""
    files = [path for path in ROOT.glob("roles/*/*/*.yml") if path.parent.name not in ("defaults", "meta")]
    used = {str(path.relative_to(ROOT)): set(re.findall(r"\bkubeflow_[a-z_]+", path.read_text())) for path in files}
    assert {path: names for path, names in used.items() if names} == {}


def test_metadata_agree() -> None:
    """Licence, version bounds and libraries are said in several files."""
    galaxy = load(ROOT / "galaxy.yml")
    runtime = load(ROOT / "meta" / "runtime.yml")
    assert (galaxy["namespace"], galaxy["name"]) == ("mlplatform", "kubeflow")
    assert galaxy["license"] == ["GPL-3.0-or-later"]
    assert runtime["requires_ansible"] == ">=2.16.0"
    wanted = {entry["name"]: entry["version"] for entry in load(ROOT / "requirements.yml")["collections"]}
    assert galaxy["dependencies"] == wanted
    for role in ROLES.values():
        info = load(role / "meta" / "main.yml")["galaxy_info"]
        assert (info["license"], info["min_ansible_version"]) == ("GPL-3.0-or-later", "2.16"), role.name
    assert libraries("requirements.txt") == libraries("meta/ee-requirements.txt")


def libraries(file: str) -> Set[str]:
    """The lines of a requirements file that name a library; they hold lower bounds only."""
    found = {line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")}
    assert all(re.fullmatch(r"[A-Za-z]+>=[0-9.]+", line) for line in found)
    return found
