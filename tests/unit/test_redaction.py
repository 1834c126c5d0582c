# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret value survives in what is shown, and ordinary words do."""

from __future__ import annotations

import base64
from typing import Any, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.overlay import declaration
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.redaction import (
    Redactor,
    Scrubbed,
    looks_secret,
    shown_change,
)

CANARY = "c4nary-0f-the-test"


def b64(text: str) -> str:
    """As the API server stores it."""
    return base64.b64encode(text.encode()).decode()


def taught(patch: Any) -> Redactor:
    """A redactor that saw one patch of a user, in the form in which he wrote it."""
    redactor = Redactor()
    for found in declaration("dex", patches=[patch]).patches:
        redactor.learn_patch(found)
    return redactor


def meta(kind: str) -> dict[str, Any]:
    """A patch's head."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": "n"}}


DEX = "connectors:\n- type: ldap\n  config:\n    clientSecret: %s\n    host: ldap.site\n" % CANARY
PATCHES = {
    "Secret, base64": {**meta("Secret"), "data": {"anything": b64(CANARY)}},
    "Secret, plain": {**meta("Secret"), "stringData": {"anything": CANARY}},
    "Secret, in the wrong field": {**meta("Secret"), "immutable": CANARY, "spec": {"a": [CANARY]}},
    "Secret as YAML text": "kind: Secret\nmetadata: {name: x}\nstringData:\n  anything: %s\n" % CANARY,
    "Secret by target": {"target": {"kind": "Secret", "name": "x"}, "patch": {"data": {"anything": b64(CANARY)}}},
    "JSON patch of one key": {
        "target": {"kind": "Secret"},
        "patch": [{"op": "add", "path": "/data/anything", "value": b64(CANARY)}],
    },
    "JSON patch of all keys": {
        "target": {"kind": "Secret"},
        "patch": [{"op": "replace", "path": "/stringData", "value": {"anything": CANARY}}],
    },
    "JSON patch as text": {
        "target": {"kind": "Deployment"},
        "patch": "- {op: add, path: /spec/adminPassword, value: %s}" % CANARY,
    },
    "YAML in a ConfigMap": {**meta("ConfigMap"), "data": {"config.yaml": DEX}},
    "YAML list in a ConfigMap": {**meta("ConfigMap"), "data": {"c": "staticClients:\n- secret: '%s'\n" % CANARY}},
    "flow YAML in a ConfigMap": {**meta("ConfigMap"), "data": {"c": "staticClients: [{id: x, secret: %s, public: no}]" % CANARY}},
    "LDAP in a ConfigMap": {**meta("ConfigMap"), "data": {"c": "config:\n  bindDN: cn=x\n  bindPW: %s\n" % CANARY}},
    "JSON in a ConfigMap": {**meta("ConfigMap"), "data": {"c": '{"a": {"client_secret": "%s", "b": 1}}' % CANARY}},
    "properties in a ConfigMap": {**meta("ConfigMap"), "data": {"c": "user=x\ndb.password = %s" % CANARY}},
    "an address in a ConfigMap": {**meta("ConfigMap"), "data": {"c": "db: postgres://kf:%s@db.site/kf" % CANARY}},
    "environment, telling name": {**meta("Deployment"), "spec": {"env": [{"name": "DB_PASSWORD", "value": CANARY}]}},
    "environment, any name": {**meta("Deployment"), "spec": {"env": [{"name": "DSN", "value": CANARY}]}},
    "an option of a program": {**meta("Deployment"), "spec": {"args": ["--client-secret=%s" % CANARY]}},
    "a field": {**meta("Widget"), "spec": {"apiKey": CANARY}},
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_what_a_user_hides_in_a_patch_is_taken_out(patch: Any) -> None:
    """Plain, in base64, and inside other text: the server quotes values in many ways."""
    redactor = taught(patch)
    for text in ("invalid value %s: no" % CANARY, "got %s" % b64(CANARY), 'x"%s"y' % CANARY, "a%sb" % CANARY):
        shown = redactor.scrub(text)
        assert CANARY not in shown and b64(CANARY) not in shown and "***" in shown


def test_secrets_of_the_cluster_are_taken_out() -> None:
    """Live Secrets hold base64; what a pod says about itself is plain, and one line of many."""
    redactor = Redactor()
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n"
    redactor.learn({"kind": "Secret", "data": {"tls.key": b64(key), "user": b64(CANARY), "empty": "", "none": None}})
    shown = redactor.scrub("bad key MIIEvQIBADANBg of %s (%s)" % (CANARY, b64(key)))
    assert shown == "bad key *** of *** (***)"
    assert redactor.scrub("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_a_value_that_is_part_of_another_goes_with_it() -> None:
    """The longest first, or the rest of the longer one stays."""
    redactor = Redactor()
    redactor.learn({"kind": "Secret", "stringData": {"a": "hunter2", "b": "hunter2-and-more"}})
    assert redactor.scrub("x hunter2-and-more y") == "x *** y"


def test_escaped_values_are_taken_out() -> None:
    """In a JSON text a quote has a backslash before it."""
    redactor = Redactor()
    redactor.learn({"kind": "Secret", "stringData": {"a": 'pass"word\\1'}})
    assert "word" not in redactor.scrub('{"message": "pass\\"word\\\\1"}')


ORDINARY = [
    "Deployment.apps kubeflow/katib-controller: 0 of 1 replicas ready",
    'Secret kubeflow/mlpipeline-minio-artifact: secrets "mlpipeline-minio-artifact" is forbidden',
    "spec.template.spec.volumes[webhook].secret.secretName: webhook-certs -> katib-webhook-cert",
    "Next: set kubeflow_conflicts to ours or theirs",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_words_survive(text: str) -> None:
    """A message in which every other word is masked helps nobody; short and plain values are not masked inside words."""
    redactor = Redactor()
    redactor.learn({"kind": "Secret", "stringData": {"user": "root", "db": "kubeflow", "bucket": "mlpipeline", "port": "1"}})
    redactor.learn_value({"secretName": "katib-webhook-cert", "tokenPath": "/var/run", "secretKeyRef": {"name": "webhook"}})
    assert redactor.scrub(text) == text


def test_a_password_that_is_a_word_is_taken_out_where_it_stands_alone() -> None:
    """Between quotes or spaces it is the value, in a path or a name it is not."""
    redactor = Redactor()
    redactor.learn({"kind": "Secret", "stringData": {"db": "kubeflow"}})
    assert redactor.scrub('invalid value "kubeflow" in kubeflow/x') == 'invalid value "***" in kubeflow/x'


def test_data_is_scrubbed_to_its_leaves_and_keeps_its_shape() -> None:
    """Results are JSON: what a program reads there by name stays where it is."""
    redactor = taught(PATCHES["Secret, plain"])
    assert redactor.scrub_all({"a": [CANARY, 1, None], "b": {"c": ("x", True)}}) == {
        "a": ["***", 1, None],
        "b": {"c": ["x", True]},
    }


def test_progress_shows_no_secret() -> None:
    """A line on the terminal is output like any other; secrets that are learned later count too."""
    lines: List[str] = []

    class Noted:
        """Keeps the lines."""

        def say(self, where: str, text: str) -> None:
            """Keep it."""
            lines.append(text)

        waiting = say

    redactor = Redactor()
    progress = Scrubbed(Noted(), redactor)
    redactor.learn({"kind": "Secret", "stringData": {"a": CANARY}})
    progress.say("dex", "failed: " + CANARY)
    progress.waiting("dex", "waits for " + CANARY)
    assert lines == ["failed: ***", "waits for ***"]


def ref(kind: str) -> ObjectRef:
    """An object of this kind."""
    return ObjectRef("", kind, "n", "x")


CHANGES: List[Tuple[str, Tuple[str, Any, Any], bool, Tuple[Any, Any]]] = [
    ("Secret", ("data.a", b64("one"), b64(CANARY)), False, ("***", "***")),
    ("Secret", ("data", None, {"a": CANARY}), False, ("(none)", "***")),
    ("Secret", ("type", "Opaque", "x"), False, ("Opaque", "x")),
    ("ConfigMap", ("data.a", "one", "%s\ntwo" % CANARY), False, ("1 line", "2 lines")),
    ("ConfigMap", ("data.a", None, CANARY), False, ("(none)", "1 line")),
    ("Deployment", ("spec.env[DB_PASSWORD].value", "a", CANARY), False, ("***", "***")),
    ("Deployment", ("spec.env[DB_PASSWORD]", None, {"name": "DB_PASSWORD", "value": CANARY}), False, ("(none)", None)),
    ("Deployment", ("spec.env[DSN].value", CANARY, "a"), False, ("***", "a")),
    ("Deployment", ("spec.env[DSN].value", CANARY, None), False, ("***", "(none)")),
    ("Deployment", ("spec.env[DSN]", {"name": "DSN", "value": CANARY}, None), False, ('{"name": "DSN", "value": "***"}', "(none)")),
    ("Deployment", ("spec.args", [], ["--token=%s" % CANARY]), False, ("[]", '["--token=***"]')),
    ("Deployment", ("spec.adminPassword", None, CANARY), False, ("(none)", "***")),
    ("Deployment", ("metadata.annotations.kubectl.kubernetes.io/last-applied-configuration", None, CANARY), False, ("(none)", "***")),
    ("Deployment", ("spec.replicas", 1, 2), False, ("1", "2")),
    ("Deployment", ("spec.replicas", 1, 2), True, ("1", "2")),
    ("Deployment", ("spec.env[DSN].value", "a", CANARY), True, ("***", "***")),
    ("Deployment", ("spec.containers[x].image", "a:1", "a:2"), True, ("a:1", "a:2")),
    ("Deployment", ("spec.x", "y" * 200, "a\nb"), False, ("y" * 77 + "...", "a\\nb")),
]


@pytest.mark.parametrize(("kind", "change", "patched", "shown"), CHANGES)
def test_a_change_is_shown_without_its_secrets(kind: str, change: Any, patched: bool, shown: Tuple[Any, Any]) -> None:
    """A diff is read by more people than the inventory; of what a user patched only numbers and images are shown."""
    path, before, after = shown_change(ref(kind), change, patched)
    assert path == change[0]
    assert before == shown[0] and shown[1] in (None, after)
    assert CANARY not in before + after


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("clientSecret", True),
        ("DB_PASSWORD", True),
        ("api-key", True),
        ("bearerToken", True),
        ("privateKey", True),
        ("bindPW", True),
        ("db_pwd", True),
        ("passphrase", True),
        ("pwdHashes", False),
        ("secretName", False),
        ("tokenPath", False),
        ("secretKeyRef", False),
        ("private_registry_url", False),
        ("replicas", False),
    ],
)
def test_names_that_tell_of_a_secret(name: str, secret: bool) -> None:
    """Where a secret is kept is no secret."""
    assert looks_secret(name) is secret
