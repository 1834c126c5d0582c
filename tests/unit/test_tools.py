# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where programs come from, with small programs of our own and a server on the loopback interface."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Dict, Iterator, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import golang, tools
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.tools import TOOLS, Download, ensure_tool
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.controlplane import VERSIONS

VERSION = "9.8.7"


class Recorder:
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def say(self, where: str, text: str) -> None:
        """Keep it."""
        self.lines.append("%s: %s" % (where, text))

    def waiting(self, where: str, text: str) -> None:
        """Keep it, too."""
        self.say(where, text)


@dataclasses.dataclass
class Site:
    """A download site: what it serves, and what it was asked for."""

    address: str
    files: Dict[str, bytes]
    asked: List[str]


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    files: Dict[str, bytes] = {}
    asked: List[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield Site("http://127.0.0.1:%d" % server.server_port, files, asked)
    server.shutdown()
    server.server_close()


@pytest.fixture(name="elsewhere", autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty PATH, so that the programs of this machine do not matter, and no memory of earlier failures."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv(tools.HOW_VARIABLE, raising=False)
    monkeypatch.setattr(tools, "_unreachable", set())
    return folder


def served(monkeypatch: pytest.MonkeyPatch, site: Site, name: str, url: str, checksums: str) -> None:
    """Let a tool come from the site."""
    download = Download(site.address + url, site.address + checksums)
    monkeypatch.setitem(TOOLS, name, dataclasses.replace(TOOLS[name], download=download))


def program(folder: Path, name: str, version: str) -> Path:
    """A program that says its version."""
    path = folder / name
    path.write_text("#!/bin/sh\necho v%s\n" % version)
    path.chmod(0o755)
    return path


def test_every_tool_of_the_sandbox_can_be_built_in_the_version_that_it_wants() -> None:
    """The versions in go.mod and in the sandbox are one decision."""
    for name, version in VERSIONS.items():
        build = TOOLS[name].build
        module = tools.GO_MODULES / build.module
        assert (module / "go.sum").is_file()
        assert "\t%s v%s\n" % (build.requirement, version) in (module / "go.mod").read_text().replace("require ", "\t")


def test_on_the_path_only_the_right_version_counts(elsewhere: Path, tmp_path: Path) -> None:
    """A wrong one is named in the error; a right one is taken as it is."""
    program(elsewhere, "kustomize", "1.0.0")
    with pytest.raises(EngineError, match=r"kustomize is 1\.0\.0"):
        ensure_tool("kustomize", VERSION, tmp_path, "path")
    mine = program(elsewhere, "kustomize", VERSION)
    assert ensure_tool("kustomize", VERSION, tmp_path) == mine


def test_a_download_with_the_right_checksum_is_kept(monkeypatch: pytest.MonkeyPatch, site: Site, tmp_path: Path) -> None:
    """The second time nothing is asked for, and nothing but the program is in the cache."""
    served(monkeypatch, site, "kubectl", "/v{version}/{name}", "/v{version}/{name}.sha256")
    site.files["/v9.8.7/kubectl"] = b"#!/bin/sh\n"
    site.files["/v9.8.7/kubectl.sha256"] = hashlib.sha256(b"#!/bin/sh\n").hexdigest().encode()
    path = ensure_tool("kubectl", VERSION, tmp_path, "download")
    assert path.read_bytes() == b"#!/bin/sh\n"
    assert path.stat().st_mode & 0o111
    asked = list(site.asked)
    assert ensure_tool("kubectl", "v" + VERSION, tmp_path, "download") == path
    assert site.asked == asked
    assert [entry.name for entry in path.parent.iterdir()] == ["kubectl"]


def test_a_program_in_an_archive_is_taken_out_of_it(monkeypatch: pytest.MonkeyPatch, site: Site, tmp_path: Path) -> None:
    """The checksum is the archive's, found by its name among others."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        entry = tarfile.TarInfo("etcd-v9.8.7/etcd")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"etcd"))
    served(monkeypatch, site, "etcd", "/etcd-v{version}.tar.gz", "/SHA256SUMS")
    site.files["/etcd-v9.8.7.tar.gz"] = stream.getvalue()
    digest = hashlib.sha256(stream.getvalue()).hexdigest()
    site.files["/SHA256SUMS"] = ("%s  other.tar.gz\n%s  etcd-v9.8.7.tar.gz\n" % ("0" * 64, digest)).encode()
    assert ensure_tool("etcd", VERSION, tmp_path, "download").read_bytes() == b"etcd"


def test_a_wrong_checksum_is_refused_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, site: Site, tmp_path: Path) -> None:
    """It is not tried in another way either: somebody should look."""
    served(monkeypatch, site, "kubectl", "/kubectl", "/sum")
    site.files.update({"/kubectl": b"something else", "/sum": b"0" * 64})
    with pytest.raises(EngineError, match="checksum is wrong") as caught:
        ensure_tool("kubectl", VERSION, tmp_path)
    assert caught.value.expected == "sha256 " + "0" * 64
    assert not list(tmp_path.glob("tools/*/*"))


def test_a_host_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without the internet waits once for each host, not for each program."""
    attempts: List[str] = []

    def fail(url: str) -> Exception:
        attempts.append(url)
        return TimeoutError("no answer")

    monkeypatch.setattr(tools, "_open", fail)
    for name in ("kubectl", "kube-scheduler"):
        with pytest.raises(EngineError, match=r"cache: .*download: .*dl\.k8s\.io"):
            ensure_tool(name, VERSION, tmp_path, "download")
    assert len(attempts) == 1


def test_the_way_can_be_set_from_outside(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, tmp_path: Path) -> None:
    """Only where the caller leaves it open."""
    program(elsewhere, "kustomize", VERSION)
    monkeypatch.setenv(tools.HOW_VARIABLE, "cache")
    with pytest.raises(EngineError, match="not in"):
        ensure_tool("kustomize", VERSION, tmp_path)
    assert ensure_tool("kustomize", VERSION, tmp_path, "path")
    monkeypatch.setenv(tools.HOW_VARIABLE, "magic")
    with pytest.raises(EngineError, match="no such way"):
        ensure_tool("kustomize", VERSION, tmp_path)


def test_a_version_that_go_mod_does_not_name_cannot_be_built(tmp_path: Path) -> None:
    """Because nothing has checked its sums."""
    with pytest.raises(EngineError, match=r"builds version \d+\.\d+\.\d+ only"):
        ensure_tool("kustomize", VERSION, tmp_path, "build")


def a_go(folder: Path, version: str, build: str) -> None:
    """A Go that says its version, and does ``build`` (shell; the output is ``$out``) when it is asked to build."""
    path = folder / "go"
    path.write_text(
        '#!/bin/sh\nif [ "$1" = env ]; then echo go%s; exit; fi\nwhile [ "$1" != -o ]; do shift; done; out=$2\n%s\n' % (version, build)
    )
    path.chmod(0o755)


def test_what_is_built_appears_when_it_is_whole(elsewhere: Path, tmp_path: Path) -> None:
    """A build that fails leaves nothing and shows its last lines."""
    (tmp_path / "go.mod").write_text("module x.invalid\n\ngo 1.24.0\n")
    out = tmp_path / "made" / "thing"
    a_go(elsewhere, "1.26.1", 'echo "part" > "$out"; echo "undefined: y" >&2; exit 1')
    with pytest.raises(EngineError, match="undefined: y"):
        golang.build_go(tmp_path, ".", out)
    assert list(out.parent.iterdir()) == []
    a_go(elsewhere, "1.26.1", 'echo "$GOFLAGS" > "$out"')
    golang.build_go(tmp_path, ".", out)
    assert "-mod=readonly" in out.read_text()


def test_a_go_that_is_too_old_is_not_used(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the one of the package registry is installed; if that fails, both are named."""
    (tmp_path / "go.mod").write_text("module x.invalid\n\ngo 1.25.0\n")
    a_go(elsewhere, "1.24.9", "exit 0")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    said = Recorder()
    with pytest.raises(EngineError, match=r"Go 1\.25\.0 or newer on the PATH"):
        golang.ensure_go(tmp_path, tmp_path / "cache", said)
    assert "found 1.24.9" in said.lines[0]


def test_two_runs_make_a_tool_once(tmp_path: Path) -> None:
    """The second one waits, says so, and finds it."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.golang import cache_lock\n"
        "with cache_lock(Path(sys.argv[1]), 'etcd'):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    paths = "import sys; sys.path[:0] = %r\n" % [entry for entry in sys.path if entry]
    command = [sys.executable, "-c", paths + script, str(tmp_path)]
    said = Recorder()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        other.stdout.readline()
        threading.Timer(0.2, other.stdin.close).start()
        with golang.cache_lock(tmp_path, "etcd", said):
            assert said.lines == ["etcd: another run is getting it; waiting for that one"]
