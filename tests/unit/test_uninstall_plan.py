# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an uninstall decides: what goes, what stays and why. The property says what may never go, whatever there is."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Sequence, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue, ObjectMatch
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Entry, Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.release_data import Leftover
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.survey import Thing
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.uninstall_plan import CLASSES, UninstallPlan
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Verdict

from .generated import examples
from .uninstall_support import APPLIED, DEFINITION, SPACE, decide, goes, ours, record_of, stays, thing

# ------------------------------------------------------------------ what is ours


def test_what_was_written_goes_with_its_uid() -> None:
    """The uid of the record is the precondition of the deletion; webhooks and passive objects alike."""
    work, hook = ours("Deployment"), ours("ValidatingWebhookConfiguration")
    plan = decide(record_of(("c", [work, hook])), work, hook)
    assert sorted(goes(plan)) == ["Deployment.apps kubeflow/x", "ValidatingWebhookConfiguration.admissionregistration.k8s.io x"]
    assert {line.uid for line in plan.going} == {work.uid, hook.uid}
    assert all(line.verdict is Verdict.PRUNE_SAFE and line.component == "c" for line in plan.going)


def test_another_object_of_the_name_is_somebody_elses() -> None:
    """Recreated by somebody since: it is not touched, and the record forgets it."""
    work = ours("Deployment")
    plan = decide(record_of(("c", [work]), uids={work.ref: "an older one"}), work)
    assert goes(plan) == [] and plan.gone == {"c": (work.ref,)}


def test_a_role_that_kubernetes_made_again_goes() -> None:
    """Its aggregation writes the rules of a role that is deleted at that moment; an earlier run was killed before it saw that."""
    again, theirs = thing("ClusterRole", "again"), thing("ClusterRole", "theirs", labels={"whose": "theirs"})
    plan = decide(record_of(("c", [again, theirs]), uids={again.ref: "ours", theirs.ref: "ours"}), again, theirs)
    assert goes(plan) == ["ClusterRole.rbac.authorization.k8s.io again"] and plan.going[0].uid == again.uid
    assert plan.gone == {"c": (theirs.ref,)}


def test_what_was_only_announced_goes_if_our_fields_are_in_it() -> None:
    """A run that was killed between the write and the record leaves no uid behind; our field manager does."""
    work, foreign = ours("Deployment"), thing("Deployment", "y", labels={COMPONENT_LABEL: "c"})
    plan = decide(record_of(("c", [work, foreign]), uids={work.ref: "", foreign.ref: ""}), work, foreign)
    assert goes(plan) == ["Deployment.apps kubeflow/x"]
    assert plan.going[0].uid == work.uid
    assert plan.gone == {"c": (foreign.ref,)}


def test_an_object_without_our_label_stays_and_is_forgotten() -> None:
    """Somebody took the label from it to keep it; what we unmarked ourselves is known by the record."""
    taken, kept = ours("ConfigMap", "taken", labels={}), ours("ConfigMap", "unmarked", labels={})
    plan = decide(record_of(("c", [taken, kept]), kept=[kept]), taken, kept)
    assert stays(plan) == {"ConfigMap kubeflow/taken": "somebody took our label from it"}
    assert goes(plan) == ["ConfigMap kubeflow/unmarked"]
    assert plan.gone == {"c": (taken.ref,)}


HELM = {"helm.sh/resource-policy": "keep"}
HELM_APPLIED = [{**APPLIED, "fieldsV1": {"f:metadata": {"f:annotations": {"f:helm.sh/resource-policy": {}}}}}]


@pytest.mark.parametrize(
    ("one", "kept"),
    [
        (ours("ConfigMap", annotations={"mlplatform.kubeflow/keep": "true"}), True),
        (ours("ConfigMap", annotations=HELM, managedFields=HELM_APPLIED), True),
        (ours("CustomResourceDefinition", "things.example.org", annotations=HELM), True),
        (ours("CustomResourceDefinition", "things.example.org", annotations=HELM, managedFields=HELM_APPLIED), False),
        (ours("ConfigMap", annotations={"mlplatform.kubeflow/keep": "false"}), False),
    ],
)
def test_an_annotation_keeps_an_object(one: Thing, kept: bool) -> None:
    """Upstream's charts put Helm's annotation on definitions; that is nobody's wish, unlike one that somebody added."""
    plan = decide(record_of(("c", [one])), one)
    assert (str(one.ref) in stays(plan)) is kept and (str(one.ref) in goes(plan)) is not kept


def test_what_belongs_to_somebody_elses_object_stays() -> None:
    """Deleting it would be undone, or undo somebody's work. An owner that we wrote ourselves is none of these."""
    theirs = thing("Deployment", "operator")
    one, hook = ours("ConfigMap", owner=theirs), ours("ValidatingWebhookConfiguration", owner=SPACE)
    plan = decide(record_of(("c", [one, hook, SPACE])), theirs, one, hook, SPACE)
    assert stays(plan)["ConfigMap kubeflow/x"] == "it belongs to Deployment.apps kubeflow/operator"
    assert str(hook.ref) in goes(plan)


# ------------------------------------------------------------------ data


def test_volumes_stay_with_their_namespace() -> None:
    """Deleting the namespace would delete the claim; what mounts it goes all the same."""
    claim, work = ours("PersistentVolumeClaim", "db"), ours("Deployment")
    plan = decide(record_of(("c", [claim, work, SPACE])), claim, work, SPACE)
    assert stays(plan) == {
        "PersistentVolumeClaim kubeflow/db": "it holds data",
        "Namespace kubeflow": "it holds PersistentVolumeClaim kubeflow/db",
    }
    assert goes(plan) == ["Deployment.apps kubeflow/x"]


@pytest.mark.parametrize("named", ["volumes", "PersistentVolumeClaim kubeflow/db"])
def test_volumes_go_when_they_are_named(named: str) -> None:
    """As a class or one by one, and then the namespace too."""
    claim = ours("PersistentVolumeClaim", "db")
    plan = decide(record_of(("c", [claim, SPACE])), claim, SPACE, data=[named])
    assert sorted(goes(plan)) == ["Namespace kubeflow", "PersistentVolumeClaim kubeflow/db"]
    assert [line.named for line in plan.going if line.ref == claim.ref] == [True]
    assert plan.unmatched == ()


def test_what_would_take_a_volume_along_stays() -> None:
    """A StatefulSet whose claims are owned by it takes them along: it is kept until they are named."""
    work = ours("StatefulSet")
    claim = thing("PersistentVolumeClaim", "data-x-0", owner=work)
    record = record_of(("c", [work]))
    assert stays(decide(record, work, claim)) == {"StatefulSet.apps kubeflow/x": "PersistentVolumeClaim kubeflow/data-x-0 would go with it"}
    plan = decide(record, work, claim, SPACE, data=["volumes"])
    assert goes(plan) == ["StatefulSet.apps kubeflow/x"]
    assert [str(line.ref) for line in plan.followers] == ["PersistentVolumeClaim kubeflow/data-x-0"]


def test_generated_credentials_stay_while_they_may_be_needed() -> None:
    """Kept data may be locked with a password that was made once."""
    secret = ours("Secret", "password")
    record = record_of(("c", [secret]))
    assert stays(decide(record, secret, once=lambda ref: ref == secret.ref)) == {"Secret kubeflow/password": "kept data may need it"}
    assert goes(decide(record, secret, data=["volumes"], once=lambda ref: True)) == ["Secret kubeflow/password"]


def test_a_definition_stays_with_users_objects() -> None:
    """It takes every object of its kind along: it is kept, with how many there are and where; ours of that kind go."""
    mine, users = ours("Thing", "mine"), [thing("Thing", "a", "team-a"), thing("Thing", "b", "team-a"), thing("Thing", "c", "team-b")]
    plan = decide(record_of(("c", [DEFINITION, mine])), DEFINITION, mine, *users)
    assert goes(plan) == ["Thing.example.org kubeflow/mine"]
    (kept,) = plan.kept
    assert kept.ref == DEFINITION.ref and kept.counts == {"team-a": 2, "team-b": 1}
    assert "Thing.example.org team-a/a" in kept.reason


def test_what_ours_made_of_our_objects_keeps_no_definition() -> None:
    """An object of its kind that one of ours owns goes with its owner, and is waited for."""
    mine = ours("Deployment")
    child = thing("Thing", "made", owner=mine)
    plan = decide(record_of(("c", [DEFINITION, mine])), DEFINITION, mine, child)
    assert sorted(goes(plan)) == ["CustomResourceDefinition.apiextensions.k8s.io things.example.org", "Deployment.apps kubeflow/x"]
    assert [line.ref for line in plan.followers] == [child.ref]


def test_users_objects_go_when_they_are_named() -> None:
    """Those that belong to others go with these. What belongs to something that stays, stays."""
    user = thing("Thing", "user", "team-a")
    child, pinned = thing("Thing", "child", "team-a", owner=user), thing("Thing", "pinned", "team-a", owner=thing("Secret", "s", "team-a"))
    record = record_of(("c", [DEFINITION]))
    plan = decide(record, DEFINITION, user, child, data=["custom_resources"])
    assert sorted(goes(plan)) == ["CustomResourceDefinition.apiextensions.k8s.io things.example.org", "Thing.example.org team-a/user"]
    assert [line.named for line in plan.going if line.ref == user.ref] == [True]
    assert [line.ref for line in plan.followers] == [child.ref]
    pinned_by = thing("Secret", "s", "team-a")
    plan = decide(record, DEFINITION, user, child, pinned, pinned_by, data=["custom_resources"])
    assert "Thing.example.org team-a/pinned" in stays(plan)[str(DEFINITION.ref)]
    plan = decide(record, DEFINITION, user, child, data=[str(DEFINITION.ref)])
    assert "Thing.example.org team-a/user" in goes(plan)


PROFILES = ours("CustomResourceDefinition", "profiles.kubeflow.org")


def test_profiles_are_a_class_of_their_own() -> None:
    """A profile is a namespace with all that is in it, volumes and users' objects too: `custom_resources` does not mean it."""
    profile = thing("Profile", "team-a")
    space = thing("Namespace", "team-a", owner=profile)
    claim, user = thing("PersistentVolumeClaim", "w", "team-a"), thing("Thing", "u", "team-a")
    there = (PROFILES, DEFINITION, profile, space, claim, user)
    record = record_of(("c", [PROFILES, DEFINITION]))
    assert set(stays(decide(record, *there))) == {str(PROFILES.ref), str(DEFINITION.ref)}
    assert set(stays(decide(record, *there, data=["custom_resources"]))) == {str(PROFILES.ref)}
    plan = decide(record, *there, data=["profiles"])
    assert stays(plan) == {}
    assert sorted(goes(plan)) == sorted(map(str, (PROFILES.ref, DEFINITION.ref, profile.ref)))
    assert {one.ref for one in plan.followers} == {space.ref, claim.ref, user.ref}
    assert all(one.named for one in plan.followers)


def test_what_has_another_owner_is_not_taken_along() -> None:
    """Kubernetes collects an object when the last of its owners is gone: a claim that somebody else holds on to stays."""
    work, other = ours("StatefulSet"), thing("Deployment", "other")
    both = [{"uid": owner.uid, "kind": owner.ref.kind, "name": owner.ref.name} for owner in (work, other)]
    claim = thing("PersistentVolumeClaim", "shared", ownerReferences=both)
    assert goes(decide(record_of(("c", [work])), work, other, claim)) == ["StatefulSet.apps kubeflow/x"]


def test_what_would_take_a_namespace_along_stays() -> None:
    """Whoever owns a namespace owns what users put into it."""
    work = ours("Deployment")
    space, users = thing("Namespace", "made", owner=work), thing("Secret", "users", "made")
    plan = decide(record_of(("c", [work])), work, space, users, data=["volumes"])
    assert stays(plan) == {"Deployment.apps kubeflow/x": "Namespace made would go with it"}


# ------------------------------------------------------------------ namespaces


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap", "Deployment", "PersistentVolumeClaim", "Thing", "ServiceAccount"])
def test_a_namespace_stays_with_what_is_not_ours(kind: str) -> None:
    """It is named, so that a person can look at it."""
    users = thing(kind, "users")
    plan = decide(record_of(("c", [SPACE])), SPACE, users, thing("Pod", "made-of-it", owner=users))
    assert stays(plan) == {"Namespace kubeflow": "it holds %s" % users.ref}
    assert plan.kept[0].counts == {"kubeflow": 1}


def test_what_kubernetes_put_there_holds_no_namespace() -> None:
    """Nor do pods of ours, locks, and tokens."""
    work = ours("Deployment")
    replica = thing("ReplicaSet", owner=work)
    born = [
        thing("ConfigMap", "kube-root-ca.crt"),
        thing("ServiceAccount", "default"),
        thing("Endpoints", "svc"),
        thing("EndpointSlice", "svc-1"),
        thing("Lease", "of-nobody"),
        thing("Secret", "token", annotations={"kubernetes.io/service-account.name": "default"}),
    ]
    pod = thing("Pod", owner=replica)
    plan = decide(record_of(("c", [SPACE, work])), SPACE, work, replica, pod, *born)
    assert goes(plan) == ["Deployment.apps kubeflow/x", "Namespace kubeflow"] or sorted(goes(plan)) == [
        "Deployment.apps kubeflow/x",
        "Namespace kubeflow",
    ]
    assert [one.ref for one in plan.followers] == [pod.ref]


def test_other_content_goes_when_namespaces_are_named_and_data_does_not() -> None:
    """`namespaces` is not `volumes`: every kind of data is named by itself."""
    secret, claim = thing("Secret", "users"), thing("PersistentVolumeClaim", "users")
    record = record_of(("c", [SPACE]))
    plan = decide(record, SPACE, secret, data=["namespaces"])
    assert goes(plan) == ["Namespace kubeflow"] and plan.going[0].named and "Secret kubeflow/users" in plan.going[0].reason
    assert stays(decide(record, SPACE, secret, claim, data=["namespaces"])) == {"Namespace kubeflow": "it holds %s" % claim.ref}
    assert "Namespace kubeflow" in goes(decide(record, SPACE, secret, claim, data=["namespaces", "volumes"]))
    assert "Namespace kubeflow" in goes(decide(record, SPACE, secret, data=["Secret kubeflow/users"]))


def test_what_goes_with_a_namespace_is_not_waited_for_before_it() -> None:
    """A user's pod goes because the namespace goes: to wait for it beforehand would be to wait for ever."""
    pod, state = thing("Pod", "users"), thing("Thing", "session", "auth")
    auth = ours("Namespace", "auth")
    record = record_of(("mesh", [SPACE, DEFINITION, auth]))
    plan = decide(record, SPACE, pod, DEFINITION, state, auth, data=["namespaces"], leftovers=(STATE,))
    assert sorted(goes(plan)) == sorted(map(str, (SPACE.ref, DEFINITION.ref, auth.ref))) and plan.followers == ()


def test_a_namespace_of_kubernetes_never_goes() -> None:
    """Not even if a record names it and nothing is in it."""
    system = ours("Namespace", "kube-system")
    assert stays(decide(record_of(("c", [system])), system)) == {"Namespace kube-system": "it is Kubernetes' own"}


def test_a_component_leaves_the_namespace_of_another_one() -> None:
    """Namespaces, and everything else, of components that stay are not decided on."""
    work, other = ours("Deployment"), ours("Deployment", "other")
    plan = decide(record_of(("common", [SPACE, other]), ("katib", [work])), SPACE, work, other, components=("katib",))
    assert goes(plan) == ["Deployment.apps kubeflow/x"] and plan.kept == ()


OUR_SPACE = thing("Namespace", "mlplatform-kubeflow")


def test_our_own_namespace_goes_when_nothing_has_to_be_remembered() -> None:
    """Else the record stays in it, so that a later install knows its own objects."""
    work, claim = ours("Deployment"), ours("PersistentVolumeClaim")
    secret = thing("Secret", "record", "mlplatform-kubeflow", managedFields=[APPLIED])
    there = (OUR_SPACE, secret, work)
    assert "Namespace mlplatform-kubeflow" in goes(decide(record_of(("c", [work])), *there))
    assert "Namespace mlplatform-kubeflow" not in goes(decide(record_of(("c", [work, claim])), *there, claim))
    assert "Namespace mlplatform-kubeflow" not in goes(decide(record_of(("c", [work]), ("d", [])), *there, components=("c",)))
    users = thing("Secret", "users", "mlplatform-kubeflow")
    assert stays(decide(record_of(("c", [work])), *there, users)) == {"Namespace mlplatform-kubeflow": "it holds %s" % users.ref}


def test_an_empty_cluster_has_nothing_to_remove() -> None:
    """Not even a namespace that is not there."""
    assert decide(Record()) == UninstallPlan()


# ------------------------------------------------------------------ what programs made

CA = Leftover(ObjectMatch("", "ConfigMap", "", "ca"), "the mesh writes it", "mesh")
CERTIFICATES = Leftover(ObjectMatch("", "Secret", "", ""), "issued", "", "cert-manager.io/certificate-name", "Certificate.cert-manager.io")
STATE = Leftover(ObjectMatch("", "CustomResourceDefinition", "", "*.example.org"), "it keeps its state there", "mesh", instances_in="auth")


def test_what_a_program_wrote_everywhere_goes_with_its_component() -> None:
    """Also from namespaces that are not ours, unless a pod that stays mounts it."""
    work = ours("Deployment")
    here, there = thing("ConfigMap", "ca", "kubeflow"), thing("ConfigMap", "ca", "team-a")
    pod = thing("Pod", "users", "team-a")
    record = record_of(("mesh", [work]))
    plan = decide(record, work, here, there, leftovers=(CA,))
    assert sorted(goes(plan)) == ["ConfigMap kubeflow/ca", "ConfigMap team-a/ca", "Deployment.apps kubeflow/x"]
    assert {line.ref for line in plan.made} == {here.ref, there.ref}
    mounts = {("team-a", "ConfigMap", "ca"): (pod.uid,), ("kubeflow", "ConfigMap", "ca"): ("a pod that went",)}
    plan = decide(record, work, here, there, pod, leftovers=(CA,), mounts=mounts)
    assert stays(plan) == {"ConfigMap team-a/ca": "Pod team-a/users mounts it"}
    other = decide(record_of(("mesh", [work]), ("katib", [])), work, here, leftovers=(CA,), components=("katib",))
    assert goes(other) == []


def test_what_follows_an_object_goes_with_it_only() -> None:
    """A Secret that was issued for a user's certificate is the user's."""
    certificate, users = ours("Certificate", "cert"), thing("Certificate", "users")
    issued = thing("Secret", "issued", annotations={"cert-manager.io/certificate-name": "cert"})
    theirs = thing("Secret", "theirs", annotations={"cert-manager.io/certificate-name": "users"})
    elsewhere = thing("Secret", "issued", "team-a", annotations={"cert-manager.io/certificate-name": "cert"})
    plan = decide(record_of(("katib", [certificate])), certificate, users, issued, theirs, elsewhere, leftovers=(CERTIFICATES,))
    assert sorted(goes(plan)) == ["Certificate.cert-manager.io kubeflow/cert", "Secret kubeflow/issued"]
    assert [line.component for line in plan.made] == ["katib"]


def test_a_lock_goes_with_the_pod_that_holds_it() -> None:
    """In its namespace, and in kube-system, where some programs put theirs. Another program's lock is not ours, nor that of a pod of
    the same name in another namespace."""
    work = ours("Deployment")
    pod = thing("Pod", "x-1", owner=work)
    near, mine = thing("Lease", "near", holder="x-1"), thing("Lease", "mine", "kube-system", holder="x-1")
    other, elsewhere = thing("Lease", "other", "kube-system", holder="y-1"), thing("Lease", "theirs", "team-a", holder="x-1")
    plan = decide(record_of(("c", [work])), work, pod, near, mine, other, elsewhere)
    locks = ["Lease.coordination.k8s.io kube-system/mine", "Lease.coordination.k8s.io kubeflow/near"]
    assert sorted(goes(plan)) == ["Deployment.apps kubeflow/x", *locks]
    later = decide(record_of(("c", [])), near, mine, other, elsewhere, holders=plan.holders)
    assert sorted(goes(later)) == locks


def test_a_components_own_state_keeps_no_definition() -> None:
    """Sessions in its own namespace go with the definitions that it made; another program's objects of the kind keep them."""
    auth = ours("Namespace", "auth")
    made = thing("CustomResourceDefinition", "others.example.org")
    state, theirs = thing("Thing", "session", "auth"), thing("Thing", "session", "elsewhere")
    record = record_of(("mesh", [DEFINITION, auth]))
    plan = decide(record, DEFINITION, auth, made, state, leftovers=(STATE,))
    assert sorted(goes(plan)) == sorted(map(str, (DEFINITION.ref, made.ref, auth.ref)))
    plan = decide(record, DEFINITION, auth, made, state, theirs, leftovers=(STATE,))
    assert str(DEFINITION.ref) in stays(plan) and "Namespace auth" in stays(plan)


def test_release_data_names_real_components() -> None:
    """A row of a component that the release does not have would never be looked at."""
    catalogue = Catalogue.load()
    for name in catalogue.names:
        release = catalogue.release(name)
        assert release.leftovers
        assert {row.component for row in release.leftovers} - {""} <= set(release.components)
        assert all(bool(row.component) != bool(row.annotation and row.owner) for row in release.leftovers)


# ------------------------------------------------------------------ the property

NAMES = ("a", "b")
SPACES = ("kubeflow", "team-a")
OBJECT = st.tuples(
    st.sampled_from(["Deployment", "PersistentVolumeClaim", "Secret", "Thing", "Profile", "Namespace", "CustomResourceDefinition", "Pod"]),
    st.sampled_from(NAMES),
    st.sampled_from(SPACES),
    st.sampled_from(["recorded", "other uid", "no label", "kept", "foreign"]),
    st.integers(0, 7),
)
REAL_NAMES = {"CustomResourceDefinition": {"a": "things.example.org", "b": "profiles.kubeflow.org"}, "Namespace": dict(zip(NAMES, SPACES))}
Drawn = Tuple[str, str, str, str, int]


def _cluster(drawn: Sequence[Drawn]) -> Tuple[List[Thing], Record]:
    """Objects that own each other as they were drawn, some of them recorded."""
    things: List[Thing] = []
    entries: Dict[ObjectRef, Entry] = {}
    for kind, name, space, state, owner in drawn:
        real = REAL_NAMES.get(kind, {}).get(name, name)
        above = things[owner] if owner < len(things) else None
        labels = {COMPONENT_LABEL: "c"} if state in ("recorded", "other uid") else {}
        one = thing(kind, real, space, owner=above, labels=labels)
        if one.ref in {other.ref for other in things}:
            continue
        things.append(one)
        if state != "foreign":
            entries[one.ref] = Entry("v1", "older" if state == "other uid" else one.uid, "" if state == "kept" else "d", "l")
    return things, Record({"c": ComponentRecord("kubeflow", "26.03", True, entries)}, b"k", "1")


@settings(max_examples=examples(40), derandomize=True, deadline=None, database=None)
@given(st.lists(OBJECT, max_size=14), st.sets(st.sampled_from(CLASSES)))
def test_no_uninstall_takes_what_nobody_named(drawn: Sequence[Drawn], classes: FrozenSet[str]) -> None:
    """Whatever is in the cluster, the record and the choice: nothing goes, by itself or along with something, that is data of a
    class that was not named, and nothing is deleted whose uid is not the recorded one."""
    things, record = _cluster(drawn)
    plan = decide(record, *things, data=sorted(classes))
    by_uid = {one.uid: one for one in things}
    deleted = {line.uid for line in plan.going}
    for line in plan.going:
        entry = record.entry(line.ref)
        assert line.uid == by_uid[line.uid].uid and (line.named or entry is not None and entry.uid == line.uid)
    lost = _collected(things, deleted)
    profiles = _collected(things, {line.uid for line in plan.going if line.ref.kind == "Profile"})
    for one in lost:
        if one.ref.kind == "PersistentVolumeClaim":
            assert "volumes" in classes or one in profiles, one.ref
        if one.ref.kind == "Profile":
            assert "profiles" in classes, one.ref
        if one.ref.kind == "Thing" and record.entry(one.ref) is None and not one.owners:
            assert "custom_resources" in classes or one in profiles, one.ref
        if one.ref.kind == "Secret" and record.entry(one.ref) is None and not one.owners:
            assert "namespaces" in classes or one in profiles, one.ref


def _collected(things: Sequence[Thing], deleted: Any) -> List[Thing]:
    """What Kubernetes itself deletes after these: by owner, by namespace, by definition. Written anew, as a check on the planner."""
    there = {one.uid: one for one in things}
    gone = set(deleted)
    while True:
        more = set(gone)
        for one in things:
            owners = [uid for uid in one.owners if uid in there]
            orphan = bool(owners) and all(uid in gone for uid in owners)
            space = any(there[uid].ref.kind == "Namespace" and there[uid].ref.name == one.ref.namespace for uid in gone)
            kind = any(there[uid].ref.kind == "CustomResourceDefinition" and there[uid].ref.name == one.definition for uid in gone)
            if orphan or space or kind:
                more.add(one.uid)
        if more == gone:
            return [there[uid] for uid in gone]
        gone = more
