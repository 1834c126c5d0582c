# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revisions: what is kept, how many, when one is written, and that no secret is in one."""

from __future__ import annotations

import base64
import json
import lzma
from typing import Any, Dict, List, Mapping, Sequence

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import revisions
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.forms import Hasher
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.overlay import declaration
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Wanted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.redaction import Redactor
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.revisions import Mark, RevisionHead, RevisionStore
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.sealing import SEAL, Sealer, by_seal, opened, seals

KEY = b"k" * 32
HASHER = Hasher(KEY)
RELEASE = Catalogue.load().release("26.03")
PATH = "/api/v1/namespaces/mlplatform-kubeflow/secrets"
CONFIG = Resource("v1", "ConfigMap", "configmaps", True)
CANARY = "c4nary-0f-the-test"
NOTHING_KNOWN = Sealer(HASHER, Redactor(), ())


class Secrets:
    """A scripted server that keeps Secrets as the API server does."""

    def __init__(self, scripted: Any, answer: Any) -> None:
        self.scripted, self._answer = scripted, answer
        self.kept: Dict[str, KubeObject] = {}
        self.lose_next_answer = False
        scripted.answer = self.reply

    def reply(self, asked: Any) -> Any:
        """One request."""
        name = asked.path[len(PATH) :].lstrip("/")
        if asked.method == "POST":
            return self._post(json.loads(asked.body))
        if not name:
            heads = [{"metadata": item["metadata"]} for item in self.kept.values()]
            return self._answer(200, {"metadata": {}, "items": heads})
        if name not in self.kept:
            return self._answer(404, {"message": "not found"})
        if asked.method == "DELETE":
            if json.loads(asked.body)["preconditions"]["uid"] != self.kept[name]["metadata"]["uid"]:
                return self._answer(409, {"message": "UID in precondition"})
            del self.kept[name]
            return self._answer(200, {})
        if asked.method == "PATCH":
            change = json.loads(asked.body)
            self.kept[name]["metadata"]["annotations"].update(change["metadata"]["annotations"])
        return self._answer(200, self.kept[name])

    def _post(self, secret: KubeObject) -> Any:
        name = secret["metadata"]["name"]
        if name in self.kept:
            return self._answer(409, {"message": "already exists"})
        secret["metadata"]["uid"] = "uid-of-" + name
        self.kept[name] = secret
        if self.lose_next_answer:
            self.lose_next_answer = False
            return self._answer(0, cut=True)
        return self._answer(201, secret)

    def text(self, name: str) -> str:
        """Everything that a Secret says, unpacked."""
        secret = self.kept[name]
        packed = base64.b64decode(secret["data"]["objects.xz"])
        return json.dumps(secret["metadata"]) + lzma.decompress(packed).decode()

    def writes(self) -> List[str]:
        """Requests that change something, so far."""
        return ["%s %s" % (asked.method, asked.path) for asked in self.scripted.asked if asked.method != "GET"]


@pytest.fixture(name="secrets")
def _secrets(scripted: Any, answer: Any) -> Secrets:
    return Secrets(scripted, answer)


@pytest.fixture(name="store")
def _store(api: Api, secrets: Secrets) -> RevisionStore:
    return RevisionStore(api)


def config(name: str, value: str = "1", kind: str = "ConfigMap") -> KubeObject:
    """A ConfigMap, or a Secret, with one value."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n"}, "data": {"a": value}}


def wanted(**components: Sequence[KubeObject]) -> Dict[Any, Wanted]:
    """What a run wanted, by component; upstream's alone."""
    return {ref_of(obj): Wanted(name, obj, CONFIG) for name, objects in components.items() for obj in objects}


def record(*names: str, version: str = "26.03") -> Record:
    """A cluster in which these are installed."""
    return Record({name: ComponentRecord("kubeflow", version, True, {}) for name in names}, KEY, "1")


def save(store: RevisionStore, want: Mapping[Any, Wanted], *installed: str, keep: int = 5, run: str = "r1") -> Any:
    """Save what a run over all components of ``want`` was healthy with."""
    names = {one.component for one in want.values()}
    components = [RELEASE.components[name] for name in RELEASE.components if name in names]
    return store.save(want, components, RELEASE, record(*names, *installed), NOTHING_KNOWN, run, keep)


# ------------------------------------------------------------------ what is kept


def test_what_was_saved_can_be_loaded(store: RevisionStore, secrets: Secrets) -> None:
    """Objects, release, components, when, by whom, with which kustomize."""
    objects = [config("a"), config("b", "grüße")]
    head = save(store, wanted(katib=objects, dex=[config("d")]))
    assert secrets.kept["revision-1"]["type"] == "mlplatform.kubeflow/revision"
    assert secrets.kept["revision-1"]["metadata"]["labels"] == {revisions.LABEL: "1"}
    (listed,) = store.list()
    assert (listed.number, listed.release, listed.run, listed.kustomize) == (1, "26.03", "r1", RELEASE.kustomize_version)
    assert listed.components == head.components and listed.written == head.written
    assert {name: one.objects for name, one in listed.components.items()} == {"katib": 2, "dex": 1}
    loaded = store.load(1)
    assert loaded.head == listed
    assert [loaded.objects[ref_of(obj)].obj for obj in objects] == objects
    assert loaded.objects[ref_of(objects[0])].digest == HASHER.value(objects[0])


def test_the_list_brings_no_content(store: RevisionStore, secrets: Secrets) -> None:
    """Five revisions are more than a megabyte: a no-op run must not read it."""
    save(store, wanted(katib=[config("a")]))
    del secrets.kept["revision-1"]["data"]
    assert len(store.list()) == 1


def test_an_interpreter_without_lzma_keeps_revisions_too(store: RevisionStore, secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger ones; what it cannot read it says."""
    save(store, wanted(katib=[config("a")]))
    monkeypatch.setattr(revisions, "HAS_LZMA", False)
    save(store, wanted(katib=[config("a", "2")]))
    assert list(store.load(2).objects.values())[0].obj["data"] == {"a": "2"}
    with pytest.raises(EngineError, match="without lzma"):
        store.load(1)


# ------------------------------------------------------------------ when one is written


def test_the_same_again_writes_nothing(store: RevisionStore, secrets: Secrets) -> None:
    """A no-op run must not write, whoever runs it."""
    assert save(store, wanted(katib=[config("a")])) is not None
    before = secrets.writes()
    assert save(store, wanted(katib=[config("a")]), run="r2") is None
    assert secrets.writes() == before


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_another_value_makes_another_revision(store: RevisionStore, secrets: Secrets, kind: str) -> None:
    """Also a value that is not in it: what was wanted was something else."""
    save(store, wanted(katib=[config("a", "MQ==", kind)]))
    head = save(store, wanted(katib=[config("a", "Mg==", kind)]))
    assert head is not None and head.number == 2


def test_an_object_that_is_gone_makes_another_revision(store: RevisionStore, secrets: Secrets) -> None:
    """The digest is of the whole component."""
    save(store, wanted(katib=[config("a"), config("b")]))
    assert save(store, wanted(katib=[config("a")])) is not None


def test_the_oldest_go_after_the_new_one_is_written(store: RevisionStore, secrets: Secrets) -> None:
    """N stay; numbers go on; a run that is killed in between leaves one too many, and the next one that writes mends it."""
    for value in range(1, 5):
        save(store, wanted(katib=[config("a", str(value))]), keep=2)
    assert [head.number for head in store.list()] == [3, 4]
    writes = secrets.writes()
    assert writes.index("DELETE %s/revision-1" % PATH) == 3 > writes.index("POST " + PATH)
    save(store, wanted(katib=[config("a", "5")]), keep=5)
    save(store, wanted(katib=[config("a", "6")]), keep=1)
    assert [head.number for head in store.list()] == [6]


def test_none_are_kept_if_nobody_wants_any(store: RevisionStore, secrets: Secrets) -> None:
    """kubeflow_revisions: 0; those that are there stay."""
    save(store, wanted(katib=[config("a")]))
    asked = len(secrets.scripted.asked)
    assert save(store, wanted(katib=[config("a", "2")]), keep=0) is None
    assert len(secrets.scripted.asked) == asked and list(secrets.kept) == ["revision-1"]


def test_a_scoped_run_takes_the_others_from_the_newest(store: RevisionStore, secrets: Secrets) -> None:
    """Each revision is of the whole platform, so that one can go back to it as a whole."""
    save(store, wanted(katib=[config("a")], dex=[config("d")]))
    head = save(store, wanted(katib=[config("a", "2")]), "dex")
    assert set(head.components) == {"katib", "dex"}
    loaded = store.load(2)
    assert loaded.objects[ref_of(config("d"))].obj == config("d")
    assert loaded.objects[ref_of(config("a"))].obj == config("a", "2")
    assert loaded.head.components["dex"] == store.list()[0].components["dex"]


@pytest.mark.parametrize(
    ("installed", "why"),
    [
        (record("katib"), "uninstalled"),
        (Record({**record("katib").components, **record("dex", version="v1.11.0").components}, KEY), "of another release"),
    ],
)
def test_what_is_not_installed_as_the_newest_says_is_not_taken_over(
    store: RevisionStore, secrets: Secrets, installed: Record, why: str
) -> None:
    """A revision must not bring back what was removed, nor mix releases."""
    save(store, wanted(katib=[config("a")], dex=[config("d")]))
    want = wanted(katib=[config("a", "2")])
    head = store.save(want, [RELEASE.components["katib"]], RELEASE, installed, NOTHING_KNOWN, "r2", 5)
    assert head is not None and set(head.components) == {"katib"}, why
    assert set(store.load(2).objects) == set(want)


def test_a_lost_answer_is_no_other_run(store: RevisionStore, secrets: Secrets) -> None:
    """The write is repeated and finds what it wrote."""
    secrets.lose_next_answer = True
    assert save(store, wanted(katib=[config("a")])).number == 1
    assert list(secrets.kept) == ["revision-1"]


def test_another_run_with_other_content_is_told(store: RevisionStore, secrets: Secrets) -> None:
    """Nothing of it is overwritten."""
    save(store, wanted(katib=[config("a")]))
    reply = secrets.reply

    def overtaken(asked: Any) -> Any:
        if asked.method == "POST" and "revision-2" not in secrets.kept:
            secrets.scripted.answer = reply
            other = json.loads(json.dumps(secrets.kept["revision-1"]).replace("revision-1", "revision-2"))
            head = json.loads(other["metadata"]["annotations"][revisions.HEAD])
            other["metadata"]["annotations"][revisions.HEAD] = json.dumps({**head, "number": 2})
            secrets.kept["revision-2"] = other
        return reply(asked)

    secrets.scripted.answer = overtaken
    with pytest.raises(EngineError, match="another run wrote it"):
        save(store, wanted(katib=[config("a", "2")]))


# ------------------------------------------------------------------ a rollback's revision


def mark(to: int, newest: int, done: bool = True) -> Mark:
    """A rollback of Katib."""
    return Mark(to, ("katib",), "r9", newest, done)


def test_a_rollback_keeps_the_earlier_content_as_a_new_revision(store: RevisionStore, secrets: Secrets) -> None:
    """Sealed values cannot be hashed again: content and digest are the earlier ones."""
    save(store, wanted(katib=[config("a"), config("s", "MQ==", "Secret")], dex=[config("d")]))
    save(store, wanted(katib=[config("a", "2")], dex=[config("d", "2")]))
    target = store.load(1)
    head = store.save_again(target, ["katib"], RELEASE, record("katib", "dex"), mark(1, 2))
    assert head is not None and head.number == 3
    listed = store.list()
    assert listed[2].components == {"katib": listed[0].components["katib"], "dex": listed[1].components["dex"]}
    assert listed[2].mark == mark(1, 2)
    loaded = store.load(3)
    assert {item.obj["metadata"]["name"]: item.obj["data"]["a"] for item in loaded.objects.values() if item.obj["kind"] != "Secret"} == {
        "a": "1",
        "d": "2",
    }
    assert [item for item in loaded.objects.values() if item.obj["kind"] == "Secret"] == [
        target.objects[ref_of(config("s", kind="Secret"))]
    ]


def test_a_rollback_to_the_newest_is_marked_on_it(store: RevisionStore, secrets: Secrets) -> None:
    """After a site that failed: nothing new is to be kept, but that it went back is to be known."""
    save(store, wanted(katib=[config("a")]))
    assert store.save_again(store.load(1), ["katib"], RELEASE, record("katib"), mark(1, 1)) is None
    (head,) = store.list()
    assert head.mark == mark(1, 1)
    before = secrets.writes()
    assert store.save_again(store.load(1), ["katib"], RELEASE, record("katib"), mark(1, 1)) is None
    assert secrets.writes() == before


def test_a_rollback_where_none_are_kept_is_marked_too(store: RevisionStore, secrets: Secrets) -> None:
    """Or ``previous`` would come forward again."""
    save(store, wanted(katib=[config("a")]))
    save(store, wanted(katib=[config("a", "2")]))
    assert store.save_again(store.load(1), ["katib"], RELEASE, record("katib"), mark(1, 2), keep=0) is None
    assert [head.mark for head in store.list()] == [mark(1, 2), None]


def test_a_platform_that_went_back_as_a_whole_takes_nothing_over(store: RevisionStore, secrets: Secrets) -> None:
    """What the earlier revision did not have is not wanted any more, though something of it may be left."""
    save(store, wanted(katib=[config("a")]))
    save(store, wanted(katib=[config("a")], dex=[config("d")]))
    head = store.save_again(store.load(1), ["katib"], RELEASE, record("katib", "dex"), Mark(1, (), "r9", 2, True), whole=True)
    assert head is not None and set(head.components) == {"katib"}


# ------------------------------------------------------------------ errors


def test_an_unknown_number_lists_the_known_ones(store: RevisionStore, secrets: Secrets) -> None:
    """With release and date, which is what a person remembers."""
    head = save(store, wanted(katib=[config("a")]))
    with pytest.raises(EngineError) as caught:
        store.load(7)
    assert "no revision 7" in str(caught.value) and "1 (26.03, %s)" % head.written in caught.value.expected


def test_without_any_revision_it_is_said_where_they_come_from(store: RevisionStore, secrets: Secrets) -> None:
    """A cluster whose first run has not ended well has none."""
    with pytest.raises(EngineError) as caught:
        store.load(1)
    assert "site writes one" in caught.value.found


def damaged(secrets: Secrets, how: str) -> None:
    """Do something to revision-1."""
    secret = secrets.kept["revision-1"]
    annotations, data = secret["metadata"]["annotations"], secret["data"]
    head = json.loads(annotations[revisions.HEAD])
    packed = base64.b64decode(data["objects.xz"])
    if how == "no annotation":
        del annotations[revisions.HEAD]
    elif how == "another number":
        annotations[revisions.HEAD] = json.dumps({**head, "number": 4})
    elif how == "newer":
        annotations[revisions.HEAD] = json.dumps({**head, "schema": 2})
    elif how == "cut off":
        data["objects.xz"] = base64.b64encode(packed[:-20]).decode()
    elif how == "one bit":
        data["objects.xz"] = base64.b64encode(packed[:60] + bytes([packed[60] ^ 1]) + packed[61:]).decode()
    else:
        data.clear()


@pytest.mark.parametrize("how", ["no annotation", "another number", "newer", "cut off", "one bit", "no content"])
def test_a_damaged_revision_is_named(store: RevisionStore, secrets: Secrets, how: str) -> None:
    """Never half a revision."""
    save(store, wanted(katib=[config("a")]))
    damaged(secrets, how)
    with pytest.raises(EngineError) as caught:
        store.load(1)
    assert "revision-1" in caught.value.subject and caught.value.next_step


# ------------------------------------------------------------------ secrets


def taught(*patches: Any) -> Sealer:
    """What a run with these patches seals with."""
    redactor = Redactor()
    found = declaration("dex", patches=list(patches)).patches
    for patch in found:
        redactor.learn_patch(patch)
    return Sealer(HASHER, redactor, found)


def container(name: str, value: str) -> KubeObject:
    """A Deployment with one environment variable."""
    env = [{"name": name, "value": value}]
    spec = {"template": {"spec": {"containers": [{"name": "dex", "image": "dex:1", "env": env}]}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "dex", "namespace": "auth"}, "spec": spec}


DEX = "connectors:\n- config: {host: ldap.site, bindPW: %s}\n" % CANARY
HIDING: Dict[str, KubeObject] = {
    "a Secret": config("s", base64.b64encode(CANARY.encode()).decode(), "Secret"),
    "a Secret's wrong field": {**config("s", "", "Secret"), "spec": {"deep": [CANARY]}},
    "a ConfigMap's text": {**config("c"), "data": {"config.yaml": DEX}},
    "an environment variable": container("LDAP_DSN", "ldap://dex:%s@ldap.site" % CANARY),
    "a short environment variable": container("DB", "a-b"),
    "a secret-looking variable that is a word": container("DB_PASSWORD", "canary"),
    "an annotation": {**config("c"), "metadata": {"name": "c", "namespace": "n", "annotations": {"api-key": CANARY}}},
    "a secret-looking field": {**config("c"), "data": {"adminPassword": "abc"}},
    "a text of a custom resource": {**config("c", kind="Thing"), "spec": {"text": "clientSecret: %s\n" % CANARY}},
}


@pytest.mark.parametrize("where", HIDING)
def test_no_secret_of_a_patch_is_in_a_revision(store: RevisionStore, secrets: Secrets, where: str) -> None:
    """Wherever a user may put one."""
    obj = HIDING[where]
    want = {ref_of(obj): Wanted("dex", obj, CONFIG, user_patched=True)}
    store.save(want, [RELEASE.components["dex"]], RELEASE, record("dex"), taught(obj), "r1")
    text = secrets.text("revision-1")
    assert SEAL in text
    for value in (CANARY, base64.b64encode(CANARY.encode()).decode()[:-4], '"canary"', '"abc"', '"a-b"'):
        assert value not in text


def test_what_is_no_secret_stays_readable() -> None:
    """Or there would be nothing to go back to: upstream's texts, also secret-looking ones, and a patch's plain ones."""
    patch = {**config("c"), "data": {"mine": "a word and another", "switch": "on", "number": "3.14"}}
    sealer = taught(patch, HIDING["a Secret"])
    upstream = container("OIDC_CLIENT_SECRET", "upstream's own")
    assert sealer.sealed(upstream, user_patched=False) == upstream
    patched: KubeObject = {**config("c", "upstream's long text"), "spec": {"replicas": 2, "on": True, "none": None, "empty": ""}}
    patched["metadata"]["annotations"] = {"note": "what a person says"}
    assert sealer.sealed(patched, user_patched=True) == patched
    patched["data"] = {**patched["data"], **patch["data"]}
    assert [path for path, _hash in seals(sealer.sealed(patched, user_patched=True))] == ["data.mine"]


def test_names_stay_though_they_are_also_a_password() -> None:
    """An object without its name cannot be found again."""
    sealer = taught({**config("x", kind="Secret"), "stringData": {"password": "kubeflow"}})
    obj = config("kubeflow", "kubeflow")
    obj["metadata"]["namespace"] = "kubeflow"
    found = sealer.sealed(obj, user_patched=True)
    assert found["metadata"] == obj["metadata"] and list(seals(found)) == [("data.a", HASHER.value("kubeflow"))]


def test_the_keys_of_a_secret_stay() -> None:
    """Which keys it had is no secret; without values there is nothing to hide."""
    empty = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "type": "Opaque"}
    assert NOTHING_KNOWN.sealed(empty, user_patched=False) == empty
    assert list(seals(NOTHING_KNOWN.sealed(config("s", "MQ==", "Secret"), False))) == [("data.a", HASHER.value("MQ=="))]


def test_a_seal_is_opened_by_whoever_has_the_text() -> None:
    """The cluster or the inventory; what neither has is named by its path."""
    obj = HIDING["an environment variable"]
    closed = taught(obj).sealed(obj, user_patched=True)
    path = "spec.template.spec.containers[dex].env[LDAP_DSN].value"
    assert [where for where, _hash in seals(closed)] == [path]
    assert opened(closed, [{}, by_seal([obj], HASHER)]) == (obj, ())
    assert opened(closed, [by_seal([container("LDAP_DSN", "another one")], HASHER)]) == (closed, (path,))


def test_a_seal_says_nothing_without_the_clusters_key() -> None:
    """Passwords are short: a plain hash could be guessed."""
    obj = config("s", "MQ==", "Secret")
    one, other = (list(seals(Sealer(Hasher(key), Redactor(), ()).sealed(obj, False)))[0][1] for key in (KEY, b"x" * 32))
    assert one != other


def test_the_newest_is_compared_with_secrets_and_all(store: RevisionStore, secrets: Secrets) -> None:
    """Another password is another revision, though both look alike to whoever has no key."""
    heads: List[RevisionHead] = []
    for value in ("one-password", "another-one"):
        obj = container("DB_PASSWORD", value)
        want = {ref_of(obj): Wanted("dex", obj, CONFIG, user_patched=True)}
        head = store.save(want, [RELEASE.components["dex"]], RELEASE, record("dex"), taught(obj), "r1")
        assert head is not None
        heads.append(head)
    assert [head.number for head in heads] == [1, 2]
