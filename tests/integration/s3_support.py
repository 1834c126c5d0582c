# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real object stores for tests: MinIO, which the platform had until 1.10, and SeaweedFS, which it has since 1.11.

Both are built from their Go modules once and kept in the cache: MinIO in about three minutes on two cores, SeaweedFS in six.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import random
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import botocore.session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import s3
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.copying import Bucket
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.golang import build_go, cache_lock
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Progress

from .support import CACHE, EXHAUSTIVE, REPO

# As in the platform: a short access key that is a word, and a secret that must never be seen.
KEYS = ("minio", "minio-secret-4711")
READY_SECONDS = 60.0
PACKAGES = {"minio": "github.com/minio/minio", "weed": "github.com/seaweedfs/seaweedfs/weed"}
FOLDERS = {"minio": "minio", "weed": "seaweedfs"}


def _program_path(name: str) -> Path:
    text = (REPO / "tools" / "go" / FOLDERS[name] / "go.mod").read_text(encoding="utf-8")
    stamp = re.search(r"^require github\.com/\S+ v0\.0\.0-(\d{14})", text, re.M)
    assert stamp is not None
    return CACHE / "tools" / ("%s-%s" % (FOLDERS[name], stamp.group(1))) / name


def ensure_program(name: str, progress: Optional[Progress] = None) -> Path:
    """The program "minio" or "weed" (SeaweedFS), from the cache or built into it."""
    path = _program_path(name)
    with cache_lock(CACHE, FOLDERS[name], progress):
        if not os.access(path, os.X_OK):
            build_go(REPO / "tools" / "go" / FOLDERS[name], PACKAGES[name], path, progress=progress, cache_dir=CACHE)
    return path


def has_seaweedfs() -> bool:
    """Whether SeaweedFS is there, or may be built: quick runs do not wait for that."""
    return EXHAUSTIVE or os.access(_program_path("weed"), os.X_OK)


def free_ports(count: int) -> List[int]:
    """Ports of the loopback that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _number in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@dataclass
class Server:
    """An object store on the loopback, with a folder of its own.

    :ivar command: how it is started; ``variables`` are added to its environment.
    """

    name: str
    endpoint: str
    folder: Path
    command: List[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    ca_file: str = ""
    process: Optional[subprocess.Popen[bytes]] = None

    def settings(self, **changes: Any) -> Dict[str, Any]:
        """What a user says about it."""
        told = {"endpoint": self.endpoint, "access_key": KEYS[0], "secret_key": KEYS[1], "ca_file": self.ca_file}
        return {**told, **changes}

    def bucket(self, name: str, **changes: Any) -> Bucket:
        """A bucket of it, which may not be there."""
        return Bucket(s3.connect(self.settings(**changes)), name)

    def make(self, name: str) -> Bucket:
        """A new bucket."""
        bucket = self.bucket(name)
        bucket.call("create_bucket")
        return bucket

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), **self.variables}
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment, cwd=self.folder, start_new_session=True)
        client, end = s3.connect(self.settings()), time.monotonic() + READY_SECONDS
        while True:
            try:
                client.call("list_buckets", self.name)
                return
            except EngineError as problem:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise AssertionError("%s\n%s" % (problem, (self.folder / "log").read_text(errors="replace")[-3000:])) from problem
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def minio(folder: Path, tls: bool = False) -> Server:
    """A MinIO with one drive, not started yet."""
    (port,) = free_ports(1)
    command = [str(ensure_program("minio")), "server", "--quiet", "--address", "127.0.0.1:%d" % port]
    variables = {"MINIO_ROOT_USER": KEYS[0], "MINIO_ROOT_PASSWORD": KEYS[1], "MINIO_BROWSER": "off"}
    ca_file = ""
    if tls:
        ca_file = certificate(folder / "certs")
        command += ["--certs-dir", str(folder / "certs")]
    endpoint = "%s://127.0.0.1:%d" % ("https" if tls else "http", port)
    return Server("MinIO", endpoint, folder, [*command, str(folder / "data")], variables, ca_file)


def seaweedfs(folder: Path) -> Server:
    """A SeaweedFS in one process, as the platform runs it, not started yet."""
    ports = free_ports(8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    keys = {"name": "admin", "credentials": [{"accessKey": KEYS[0], "secretKey": KEYS[1]}], "actions": ["Admin"]}
    (folder / "keys.json").write_text(json.dumps({"identities": [keys]}), encoding="utf-8")
    names = (
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port",
        "s3.port.grpc",
    )
    command = [str(ensure_program("weed")), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=" + str(folder / "data")]
    command += ["-%s=%d" % pair for pair in zip(names, ports, strict=True)]
    command += ["-filer", "-s3", "-s3.config=" + str(folder / "keys.json"), "-s3.port.iceberg=0", "-metricsPort=0"]
    command += ["-master.volumePreallocate=false", "-master.volumeSizeLimitMB=128", "-volume.max=500"]
    return Server("SeaweedFS", "http://127.0.0.1:%d" % ports[6], folder, command)


def certificate(folder: Path) -> str:
    """A certificate for 127.0.0.1 that signs itself, under the names that MinIO wants; its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store of a test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=4))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
    builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "public.crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "private.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain))
    return str(folder / "public.crt")


def reader_of(server: Server) -> Dict[str, Any]:
    """Settings with keys of a MinIO that may list and read, but not write: given out by the server itself."""
    session = botocore.session.get_session()
    keys = {"aws_access_key_id": KEYS[0], "aws_secret_access_key": KEYS[1]}
    client = session.create_client("sts", endpoint_url=server.endpoint, region_name="us-east-1", **keys)
    allowed = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": ["arn:aws:s3:::*"]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    given = client.assume_role(RoleArn="arn:aws:iam:::role/any", RoleSessionName="reader", Policy=policy)["Credentials"]
    names = {"access_key": "AccessKeyId", "secret_key": "SecretAccessKey", "session_token": "SessionToken"}
    return server.settings(**{ours: given[theirs] for ours, theirs in names.items()})


def fill(bucket: Bucket, objects: Iterable[Tuple[str, bytes]], **headers: Any) -> int:
    """Write objects, several at a time; how many."""
    with ThreadPoolExecutor(8) as pool:
        return sum(1 for _etag in pool.map(lambda pair: s3.put_object(bucket, pair[0], pair[1], headers), objects))


def artifacts(count: int, size: int = 2000) -> Iterable[Tuple[str, bytes]]:
    """What pipelines leave: many small files, half of it noise, in a folder for each run."""
    for number in range(count):
        noise = random.Random(number).randbytes(size // 2)
        yield "artifacts/run-%05d/%07d.json" % (number // 20, number), noise + b'{"metric": 0.5}' * (size // 30)
