# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real database servers for tests, each with a folder and a socket of its own, and what a site has in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.dumping import Login, MySql
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.transports import LocalCommand, Transport

from .support import REPO

PASSWORD = "quelquechose 'of\\ours\" $HOME"
SITE = ("cachedb", "katib", "metadb", "mlpipeline")
PROGRAMS = os.environ.get("PATH", "") + ":/usr/sbin"


def ensure_programs() -> None:
    """Install MariaDB's programs if they are missing."""
    if any(shutil.which(name, path=PROGRAMS) is None for name in ("mariadbd", "mariadb-install-db", "mariadb-dump", "mariadb")):
        subprocess.run([str(REPO / "scripts" / "mariadb.sh")], check=True)


@dataclass
class Server:
    """A running mariadbd without a network port; its root has :data:`PASSWORD`."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> str:
        """Its Unix socket."""
        return str(self.folder / "s")

    def login(self, user: str = "root", password: str = PASSWORD) -> Login:
        """How to log in."""
        return Login(user, password, socket=self.socket)

    def mysql(self, transport: Optional[Transport] = None, login: Optional[Login] = None) -> MySql:
        """What is tested, on this server."""
        return MySql(transport or LocalCommand(idle_timeout=30.0), login or self.login(), "server of " + self.folder.name)

    def client(self, **settings: Any) -> subprocess.Popen[bytes]:
        """A client that runs what it is given line by line."""
        command = [_program("mariadb"), "--no-defaults", "--user=root", "--socket=" + self.socket, "--batch", "--unbuffered"]
        command += ["--skip-column-names", "--default-character-set=utf8mb4", "--comments"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, "MYSQL_PWD": PASSWORD}, **settings)

    def sql(self, text: str) -> str:
        """What the server answers to some statements."""
        with self.client() as client:
            output, errors = client.communicate(text.encode())
        assert client.returncode == 0, errors.decode()
        return output.decode()

    def tables(self, databases: Sequence[str]) -> List[str]:
        """Every table, quoted."""
        names = ",".join("'%s'" % name for name in databases)
        found = self.sql(
            "SELECT CONCAT('`', table_schema, '`.`', REPLACE(table_name, '`', '``'), '`') FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE' AND table_schema IN (%s) ORDER BY 1;" % names
        )
        return found.splitlines()

    def checksums(self, databases: Sequence[str]) -> List[str]:
        """What CHECKSUM TABLE says about every table."""
        tables = self.tables(databases)
        return self.sql("CHECKSUM TABLE %s;" % ", ".join(tables)).splitlines() if tables else []

    def definitions(self, database: str) -> str:
        """Everything that the server can say about how the objects of a database are defined."""
        asked = ["SHOW CREATE DATABASE `%s`;" % database]
        asked += ["SHOW CREATE TABLE %s;" % table for table in self.tables([database])]
        for view in self.sql("SELECT table_name FROM information_schema.views WHERE table_schema = '%s';" % database).splitlines():
            asked.append("SHOW CREATE VIEW `%s`.`%s`;" % (database, view))
        for source in (
            "routine_name, routine_definition, definer, sql_mode FROM information_schema.routines WHERE routine_schema",
            "trigger_name, action_statement, definer, sql_mode FROM information_schema.triggers WHERE trigger_schema",
            "event_name, event_definition, definer, status FROM information_schema.events WHERE event_schema",
        ):
            asked.append("SELECT %s = '%s' ORDER BY 1;" % (source, database))
        return self.sql("\n".join(asked))

    def wait_for(self, query: str, seconds: float = 15.0) -> str:
        """The first answer to a query that is not empty."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = self.sql(query).strip()
            if answer:
                return answer
            time.sleep(0.02)
        raise AssertionError("no answer within %.0f s: %s" % (seconds, query))

    def empty(self) -> None:
        """No databases but the server's own."""
        for name in self.mysql().databases():
            self.sql("DROP DATABASE `%s`;" % name)

    def stop(self) -> None:
        """It runs no longer, and its data are gone."""
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


def _program(name: str) -> str:
    found = shutil.which(name, path=PROGRAMS)
    assert found is not None, name
    return found


def start(folder: Path, *options: str) -> Server:
    """A new server with empty data; ready."""
    ensure_programs()
    folder.mkdir(mode=0o700)
    user = "--user=root" if os.getuid() == 0 else "--console"
    settings = ["--no-defaults", "--datadir=%s" % (folder / "data"), "--innodb-log-file-size=8M", user]
    install = [_program("mariadb-install-db"), *settings, "--skip-test-db", "--auth-root-authentication-method=normal"]
    subprocess.run(install, check=True, capture_output=True)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [_program("mariadbd"), *settings, "--socket=%s" % (folder / "s"), "--skip-networking", "--innodb-flush-log-at-trx-commit=2"]
            + list(options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    server = Server(folder, process)
    _set_password(server)
    return server


def _set_password(server: Server) -> None:
    command = [_program("mariadb"), "--no-defaults", "--user=root", "--socket=" + server.socket]
    text = "ALTER USER root@localhost IDENTIFIED BY '%s';" % PASSWORD.replace("\\", "\\\\").replace("'", "''")
    for _attempt in range(300):
        if subprocess.run(command, input=text.encode(), capture_output=True, check=False).returncode == 0:
            return
        assert server.process.poll() is None, (server.folder / "log").read_text()
        time.sleep(0.05)
    raise AssertionError((server.folder / "log").read_text())


# ---------------------------------------------------------------- a site's data

_TEXT = "utf8mb4 COLLATE utf8mb4_general_ci"
_TABLES: Mapping[str, str] = {
    "cachedb": """
CREATE TABLE execution_caches (ID bigint PRIMARY KEY AUTO_INCREMENT, ExecutionCacheKey varchar(255) NOT NULL,
  ExecutionTemplate longtext NOT NULL, ExecutionOutput longtext, MaxCacheStaleness bigint, StartedAtInSec bigint, EndedAtInSec bigint,
  KEY idx_cache_key (ExecutionCacheKey));
INSERT INTO execution_caches SELECT seq, SHA2(seq, 256), CONCAT('{"container":{"command":["python3","-c","', REPEAT('x = 1\\n', seq % 40),
  '"]}}'), IF(seq % 7, CONCAT('{"output":"', MD5(seq), '"}'), NULL), -1, 1700000000 + seq, 1700000060 + seq FROM {n};
""",
    "katib": """
CREATE TABLE observation_logs (trial_name varchar(255) NOT NULL, id int PRIMARY KEY AUTO_INCREMENT, time datetime(6),
  metric_name varchar(255) NOT NULL, value text NOT NULL, KEY trial (trial_name));
INSERT INTO observation_logs SELECT CONCAT('random-', r.seq), NULL, NOW(6), ELT(m.seq, 'loss', 'Train-accuracy', 'epoch'),
  CASE m.seq WHEN 1 THEN RAND(r.seq) WHEN 2 THEN '0.9876543210123456789' ELSE r.seq END FROM {n} r JOIN seq_1_to_3 m;
""",
    "metadb": """
CREATE TABLE Type (id int PRIMARY KEY AUTO_INCREMENT, name varchar(255) NOT NULL, version varchar(255), type_kind tinyint NOT NULL,
  description text, UNIQUE KEY (name));
CREATE TABLE Artifact (id int PRIMARY KEY AUTO_INCREMENT, type_id int NOT NULL, uri text, state int, name varchar(255),
  create_time_since_epoch bigint NOT NULL, UNIQUE KEY (type_id, name), CONSTRAINT of_type FOREIGN KEY (type_id) REFERENCES Type (id));
CREATE TABLE ArtifactProperty (artifact_id int NOT NULL, name varchar(255) NOT NULL, is_custom_property tinyint NOT NULL, int_value int,
  double_value double, string_value mediumtext, byte_value mediumblob, PRIMARY KEY (artifact_id, name, is_custom_property));
CREATE TABLE MLMDEnv (schema_version int PRIMARY KEY);
CREATE TABLE ParentType (type_id int NOT NULL, parent_type_id int NOT NULL, PRIMARY KEY (type_id, parent_type_id));
INSERT INTO MLMDEnv VALUES (10);
INSERT INTO Type VALUES (1, 'system.Model', NULL, 1, NULL), (2, 'system.Metrics', NULL, 1, 'measured');
INSERT INTO Artifact SELECT seq, 1 + seq % 2, CONCAT('minio://mlpipeline/v2/artifacts/', SHA1(seq)),
  2, CONCAT('a-', seq), seq * 1000 FROM {n};
INSERT INTO ArtifactProperty SELECT seq, 'accuracy', 1, NULL, RAND(seq) * POW(0.1, seq % 300), NULL, NULL FROM {n};
INSERT INTO ArtifactProperty SELECT seq, 'weights', 0, seq, NULL, 'äöü 漢字 😀', UNHEX(CONCAT('00FF27', SHA1(seq))) FROM {n};
""",
    "mlpipeline": """
CREATE TABLE experiments (UUID varchar(64) PRIMARY KEY, Name varchar(128) NOT NULL, Description varchar(255) NOT NULL, CreatedAtInSec bigint
  NOT NULL, Namespace varchar(255) NOT NULL, StorageState varchar(255) NOT NULL, UNIQUE KEY (Name, Namespace));
CREATE TABLE run_details (UUID varchar(255) PRIMARY KEY, ExperimentUUID varchar(255) NOT NULL, DisplayName varchar(255) NOT NULL, Name
  varchar(255) NOT NULL, StorageState varchar(255) NOT NULL, Namespace varchar(255) NOT NULL, ServiceAccount varchar(255) NOT NULL,
  CreatedAtInSec bigint NOT NULL, ScheduledAtInSec bigint DEFAULT 0, FinishedAtInSec bigint DEFAULT 0, Conditions varchar(125) NOT NULL,
  State varchar(255), StateHistory longtext, PipelineSpecManifest longtext, WorkflowSpecManifest longtext NOT NULL, Parameters longtext,
  RuntimeParameters longtext, PipelineRuntimeManifest longtext NOT NULL, WorkflowRuntimeManifest longtext NOT NULL,
  KEY experimentuuid_createatinsec (ExperimentUUID, CreatedAtInSec));
CREATE TABLE tasks (UUID varchar(255) PRIMARY KEY, Namespace varchar(255) NOT NULL, RunUUID varchar(255) NOT NULL, PipelineName varchar(255)
  NOT NULL, CreatedTimestamp bigint NOT NULL, Fingerprint varchar(255) NOT NULL, Name varchar(255), ParentTaskUUID varchar(255), State
  varchar(255), MLMDInputs longtext, MLMDOutputs longtext, ChildrenPods longtext, KEY (RunUUID),
  CONSTRAINT tasks_of_run FOREIGN KEY (RunUUID) REFERENCES run_details (UUID) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE run_metrics (RunUUID varchar(255) NOT NULL, NodeID varchar(255) NOT NULL, Name varchar(255) NOT NULL, NumberValue double,
  Format varchar(255), Payload longtext NOT NULL, PRIMARY KEY (RunUUID, NodeID, Name));
CREATE TABLE default_experiments (DefaultExperimentId varchar(255) PRIMARY KEY);
CREATE TABLE jobs (UUID varchar(255) PRIMARY KEY, DisplayName varchar(255) NOT NULL, Enabled tinyint(1) NOT NULL);
INSERT INTO experiments SELECT MD5(seq), CONCAT('experiment ', seq), '', seq, CONCAT('team-', seq % 5), 'AVAILABLE' FROM seq_1_to_20;
INSERT INTO default_experiments VALUES (MD5(1));
INSERT INTO run_details SELECT SHA1(seq), MD5(1 + seq % 20), CONCAT('run of "', seq, "\\" with 'quotes' \\\\ and 😀"), CONCAT('run-', seq),
  'AVAILABLE', CONCAT('team-', seq % 5), 'default-editor', 1700000000 + seq, 0, 1700000100 + seq, 'Succeeded', 'SUCCEEDED', '[]',
  CONCAT('components:\\n', REPEAT('  comp-train:\\n    executorLabel: "exec"\\n-- Dump completed on\\nINSERT INTO `x` VALUES (1);\\n', 12)),
  '', NULL, CONCAT('{"lr":', RAND(seq), '}'), '', CONCAT('{"status":{"nodes":"', REPEAT(SHA2(seq, 256), 20), '"}}') FROM {n};
INSERT INTO tasks SELECT SHA1(CONCAT(r.seq, '-', t.seq)), CONCAT('team-', r.seq % 5), SHA1(r.seq), 'pipeline', 1700000000 + r.seq,
  MD5(t.seq), CONCAT('step-', t.seq), NULL, 'SUCCEEDED', NULL, '{}', '[{"name":"pod"}]' FROM {n} r JOIN seq_1_to_3 t;
INSERT INTO run_metrics SELECT SHA1(seq), 'node', 'accuracy', RAND(seq), 'PERCENTAGE', '{"x":"\\0\\r\\n\\t\\Z%\\\\"}' FROM {n};
""",
}


def fill(server: Server, runs: int) -> None:
    """The databases of a site that ran so many pipelines, as the components of the platform make them, in shape and proportion."""
    for database, text in _TABLES.items():
        made = "CREATE DATABASE %s CHARACTER SET %s;\nUSE %s;\n" % (database, _TEXT, database)
        body = text.replace("{n}", "seq_1_to_%d" % runs)
        server.sql(made + "SET foreign_key_checks = 0;\n" + body)


# ---------------------------------------------------------------- a server in a pod


def in_pod(folder: Path, namespace: str, pod: str, server: Server) -> KubeObject:
    """What makes a simulated pod the one that this server runs in: its clients find its socket.

    :param folder: made; what the pod needs on this machine.

    A kubelet ends the standard input of what it runs when the caller ends it; kwok 0.8 does not. So the client that is found
    first in this pod is one that goes by the comment at the end of the input.
    """
    folder.mkdir()
    shim = folder / "mariadb"
    shim.write_text("#!/bin/sh\nsed '/^-- end of input$/q' | exec %s \"$@\"\n" % _program("mariadb"), encoding="utf-8")
    shim.chmod(0o755)
    (folder / ".my.cnf").write_text("[client]\nsocket = %s\n" % server.socket, encoding="utf-8")
    settings: Dict[str, str] = {"PATH": "%s:%s" % (folder, os.environ["PATH"]), "HOME": str(folder)}
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Exec",
        "metadata": {"name": pod, "namespace": namespace},
        "spec": {"execs": [{"local": {"envs": [{"name": name, "value": value} for name, value in settings.items()]}}]},
    }
