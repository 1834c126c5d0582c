# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the databases and object stores of a cluster are reached: through its API server, or at an address that a person gave."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Tuple

from .api import Api, Resource
from .data_places import Database, ObjectStore
from .dumping import Login, MySql
from .errors import EngineError
from .kubeconfig import new_client
from .record import SECRETS
from .redaction import Redactor
from .s3 import Bucket, connect
from .transports import LocalCommand, PodExec, find_pod
from .tunnels import PodTunnel

DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments", True)


@dataclass(frozen=True)
class Access:
    """One cluster's data.

    :param databases: name of a database -> ``host``, ``port``, ``user``, ``password``, ``socket`` where it is not in the cluster.
    :param stores: name of an object store -> ``endpoint``, ``access_key``, ``secret_key``, ``region``, ``ca_file``, likewise.
    :param redactor: learns every credential that is read.
    """

    api: Api
    redactor: Redactor
    kubeconfig: str = ""
    context: str = ""
    databases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def secret(self, place: str, key: str, subject: str) -> str:
        """One value of a Secret ``namespace/name``.

        :raises EngineError: the Secret or the key is not there.
        """
        namespace, name = place.split("/", 1)
        found = self.api.get(SECRETS, namespace, name)
        data = (found or {}).get("data") or {}
        if found is None or key not in data:
            raise EngineError(
                "its credentials cannot be read",
                subject=subject,
                expected="key %s of Secret %s" % (key, place),
                found="no such Secret" if found is None else "keys %s" % (", ".join(sorted(data)) or "none"),
                next_step="run site, which makes the Secrets of the platform, or say how it is reached in kubeflow_backup_databases "
                "or kubeflow_backup_stores",
            )
        value = base64.b64decode(data[key] or "").decode()
        if value:
            self.redactor.learn_value(value, "password")
        return value

    def mysql(self, database: Database) -> MySql:
        """The server of a database."""
        subject = "database %s" % database.name
        given = self.databases.get(database.name)
        if given is not None:
            self.redactor.learn_value(given.get("password") or "", "password")
            login = Login(
                str(given.get("user") or "root"),
                str(given.get("password") or ""),
                host=str(given.get("host") or ""),
                port=int(given.get("port") or 0),
                socket=str(given.get("socket") or ""),
            )
            return MySql(LocalCommand(), login, subject)
        user = database.login.user or self.secret(database.login.secret, database.login.user_key, subject)
        password = self.secret(database.login.secret, database.login.password_key, subject)
        pod = find_pod(self.api, database.workload.namespace, deployment=database.workload.name)
        client = new_client(self.kubeconfig, self.context)
        transport = PodExec(client, database.workload.namespace, pod, database.container)
        return MySql(transport, Login(user, password), subject)

    @contextlib.contextmanager
    def buckets(self, store: ObjectStore) -> Iterator[Tuple[Bucket, ...]]:
        """The buckets of an object store, reachable as long as this is open."""
        subject = "object store %s" % store.name
        given = self.stores.get(store.name)
        if given is not None:
            self.redactor.learn_value(given.get("secret_key") or "", "password")
            yield tuple(Bucket(connect(given), name, "bucket %s of %s" % (name, subject)) for name in store.buckets)
            return
        settings = {
            "access_key": self.secret(store.login.secret, store.login.access_key_key, subject),
            "secret_key": self.secret(store.login.secret, store.login.secret_key_key, subject),
        }
        pod = find_pod(self.api, store.workload.namespace, deployment=store.workload.name)
        client = new_client(self.kubeconfig, self.context)
        with PodTunnel(client, store.workload.namespace, pod, store.port) as tunnel:
            connected = connect({**settings, "endpoint": "http://%s:%d" % tunnel.address})
            yield tuple(Bucket(connected, name, "bucket %s of %s" % (name, subject)) for name in store.buckets)
