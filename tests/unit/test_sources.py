# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's archives are fetched once, checked, and never trusted."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import archives
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.archives import address, fetch, unpack
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Release, read_release
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.sources import (
    SourceTree,
    ensure_sources,
    files_digest,
)

MAIN = "github.com/o/main/archive/refs/tags/v1.tar.gz"
OTHER = "github.com/o/other/archive/refs/tags/v2.tar.gz"
FILE = "github.com/o/file/releases/download/v3/manifests.yaml"
REMOTE = "https://github.com/o/other/manifests/base?ref=v2"
MAIN_FILES = {
    "web/kustomization.yaml": "resources:\n- ../base\n- %s\npatches:\n- path: patch.yaml\n" % REMOTE,
    "web/patch.yaml": "a: b\n",
    "base/Kustomization": (
        "resources: [https://%s, svc.yaml]\nconfigMapGenerator:\n- name: c\n  files: [k=c.txt]\n  envs: [e.env]\n" % FILE
    ),
    "base/svc.yaml": "kind: Service\n",
    "base/c.txt": "text",
    "base/e.env": "A=1",
    "unused/kustomization.yaml": "resources: [https://github.com/never/fetched?ref=v0]\n",
}
OTHER_FILES = {
    "manifests/base/kustomization.yml": "resources: [x.yaml]\ncomponents: [../part]\n",
    "manifests/base/x.yaml": "kind: X\n",
    "manifests/part/kustomization.yaml": "transformers: [t.yaml]\nreplacements: [{path: r.yaml}]\n",
    "manifests/part/t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: p.yaml\n",
    "manifests/part/p.yaml": "a: b\n",
    "manifests/part/r.yaml": "source: {}\n",
    "ui/large.js": "x" * 1000,
}
MAIN_READ = [name for name in MAIN_FILES if not name.startswith("unused")]
OTHER_READ = [name for name in OTHER_FILES if not name.startswith("ui")]


class Said:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def say(self, where: str, text: str) -> None:
        """Keep it."""
        self.lines.append(text)

    def waiting(self, where: str, text: str) -> None:
        """Keep it."""
        self.lines.append(text)


def _tar(files: Mapping[str, str], top: str = "top-1", members: Tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo("%s/%s" % (top, name))
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def _digest(files: Mapping[str, str], read: List[str]) -> str:
    return files_digest({name: hashlib.sha256(files[name].encode()).hexdigest() for name in read})


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror with three sources."""
    folder = tmp_path / "mirror"
    _put(folder, MAIN, _tar(MAIN_FILES))
    _put(folder, OTHER, _tar(OTHER_FILES))
    _put(folder, FILE, b"kind: JobSet\n")
    return folder


def _put(mirror_: Path, url: str, content: bytes) -> None:
    path = mirror_ / url
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _release(folder: Path, **changes: Any) -> Release:
    sources: Dict[str, Any] = {
        "main": {"url": MAIN, "kind": "archive", "strip": 1, "digest": _digest(MAIN_FILES, MAIN_READ), "verified": True},
        "other": {
            "url": OTHER,
            "kind": "archive",
            "strip": 1,
            "keep": ["manifests"],
            "digest": _digest(OTHER_FILES, OTHER_READ),
            "verified": False,
        },
        "file": {
            "url": FILE,
            "kind": "file",
            "digest": _digest({"manifests.yaml": "kind: JobSet\n"}, ["manifests.yaml"]),
            "verified": True,
        },
    }
    content = {
        "release": "v9.9.9",
        "title": "Small",
        "kubernetes": {"minimum": "1.30", "tested": ["1.34"]},
        "kustomize": {"version": "5.7.1"},
        "tree": "main",
        "sources": sources,
        "remotes": {
            REMOTE: {"source": "other", "path": "manifests/base"},
            "https://" + FILE: {"source": "file", "path": "manifests.yaml"},
        },
        "components": {"web": {"title": "Web", "paths": ["web"]}, "base": {"title": "Base", "paths": ["base"]}},
        **changes,
    }
    path = folder / "v9.9.9.yml"
    path.write_text(json.dumps(content))
    return read_release(path)


@pytest.fixture
def small(tmp_path: Path) -> Release:
    """A release of two components and three sources."""
    return _release(tmp_path)


def _ensure(release: Release, tmp_path: Path, mirror_: Any, progress: Any = None) -> SourceTree:
    return ensure_sources(release, tmp_path / "cache", str(mirror_), progress or Silent())


def test_remote_bases_become_local(small: Release, tmp_path: Path, mirror: Path) -> None:
    """Folders of another source, and a single file, which gets a folder as kustomize wants it."""
    tree = _ensure(small, tmp_path, mirror)
    web = (tree.root / "web/kustomization.yaml").read_text()
    assert "- ../.remotes/other/manifests/base\n" in web and "github.com" not in web
    base = (tree.root / "base/Kustomization").read_text()
    assert "../.remotes/file/manifests.yaml.base" in base and "https" not in base
    assert (tree.root / ".remotes/file/manifests.yaml.base/manifests.yaml").read_text() == "kind: JobSet\n"
    assert not (tree.root / ".remotes/other/ui").exists()


def test_a_second_call_needs_neither_mirror_nor_time(small: Release, tmp_path: Path, mirror: Path) -> None:
    """No network once fetched, and less than 50 ms."""
    first = _ensure(small, tmp_path, mirror)
    start = time.monotonic()
    assert _ensure(small, tmp_path, "/nonexistent") == first
    assert time.monotonic() - start < 0.05


def test_changed_release_data_needs_no_network(small: Release, tmp_path: Path, mirror: Path) -> None:
    """A new version of the collection must not break a site without network: archives are kept."""
    first = _ensure(small, tmp_path, mirror)
    changed = _release(tmp_path, components={"web": {"title": "Web", "paths": ["web"]}})
    second = _ensure(changed, tmp_path, "/nonexistent")
    assert second.root != first.root
    assert second.closures["web"] == first.closures["web"]


def test_closures_are_per_component_and_leave_out_what_is_not_read(small: Release, tmp_path: Path, mirror: Path) -> None:
    """A file that a component does not read changes neither its render nor the release's digest."""
    first = _ensure(small, tmp_path, mirror)
    _put(mirror, MAIN, _tar({**MAIN_FILES, "unused/kustomization.yaml": "resources: []", "new": "x"}))
    assert _ensure(small, tmp_path / "again", mirror).closures == first.closures
    changed = {**MAIN_FILES, "web/patch.yaml": "a: c\n"}
    _put(mirror, MAIN, _tar(changed))
    sources = {"main": {"url": MAIN, "kind": "archive", "strip": 1, "digest": _digest(changed, MAIN_READ), "verified": True}}
    release = _release(tmp_path)
    release = _release(tmp_path, sources={**_plain(release), **sources})
    third = _ensure(release, tmp_path / "third", mirror)
    assert third.closures["web"] != first.closures["web"]
    assert third.closures["base"] == first.closures["base"]


def _plain(release: Release) -> Dict[str, Any]:
    keys = ("url", "kind", "strip", "keep", "digest", "verified")
    return {
        name: {key: list(value) if isinstance(value, tuple) else value for key in keys for value in [getattr(source, key)]}
        for name, source in release.sources.items()
    }


def test_a_changed_archive_is_refused(small: Release, tmp_path: Path, mirror: Path) -> None:
    """A tag that was moved, or a mirror that was tampered with; what was fetched is not kept."""
    _put(mirror, MAIN, _tar({**MAIN_FILES, "base/svc.yaml": "kind: Evil\n"}))
    with pytest.raises(EngineError) as error:
        _ensure(small, tmp_path, mirror)
    assert MAIN in str(error.value) and small.sources["main"].digest in str(error.value)
    _put(mirror, MAIN, _tar(MAIN_FILES))
    _ensure(small, tmp_path, mirror)


def test_an_unverified_digest_warns(small: Release, tmp_path: Path, mirror: Path) -> None:
    """Nobody has compared it with the public address yet."""
    said = Said()
    _ensure(small, tmp_path, mirror, said)
    assert [line for line in said.lines if "warning" in line] == [
        "warning: the digest of %s was never checked against its public address" % OTHER
    ]


def test_ac21_an_unlisted_remote_base_fails_with_its_place(tmp_path: Path, mirror: Path) -> None:
    """AC-21: found when sources are fetched, not on a site without network."""
    release = _release(tmp_path, remotes={"https://" + FILE: {"source": "file", "path": "manifests.yaml"}})
    with pytest.raises(EngineError) as error:
        _ensure(release, tmp_path, mirror)
    assert "main/web/kustomization.yaml:3" in str(error.value) and REMOTE in str(error.value)


def test_a_missing_file_is_named_with_its_reader(small: Release, tmp_path: Path, mirror: Path) -> None:
    """A mirror trims archives; what is missing is found at once."""
    _put(mirror, MAIN, _tar({name: text for name, text in MAIN_FILES.items() if name != "base/e.env"}))
    with pytest.raises(EngineError) as error:
        _ensure(small, tmp_path, mirror)
    assert "main/base/e.env" in str(error.value) and "base/Kustomization:5" in str(error.value)


def test_nothing_is_published_after_a_failure(small: Release, tmp_path: Path, mirror: Path) -> None:
    """A tree is there whole or not at all."""
    (mirror / FILE).unlink()
    with pytest.raises(EngineError):
        _ensure(small, tmp_path, mirror)
    assert [path.name for path in (tmp_path / "cache/sources").iterdir() if not path.name.startswith(".lock")] == ["archives"]


def test_two_runs_fetch_once(small: Release, tmp_path: Path, mirror: Path) -> None:
    """The second waits for the first and finds its tree."""
    said = Said()
    results: List[SourceTree] = []
    threads = [threading.Thread(target=lambda: results.append(_ensure(small, tmp_path, mirror, said))) for _turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(result == results[0] for result in results)
    assert len([line for line in said.lines if line.startswith("fetching")]) == 3


# --- addresses and transfers ---


@pytest.mark.parametrize(
    ("mirror_", "place"),
    [
        ("", "https://" + MAIN),
        ("/srv/mirror", "/srv/mirror/" + MAIN),
        ("file:///srv/my%20mirror", "/srv/my mirror/" + MAIN),
        ("http://mirror.site/kubeflow/", "http://mirror.site/kubeflow/" + MAIN),
    ],
)
def test_addresses(mirror_: str, place: str) -> None:
    """The path below a mirror is the public address."""
    assert address(MAIN, mirror_) == place


def test_a_mirror_without_the_file_says_what_was_tried(tmp_path: Path) -> None:
    """And how to set the mirror."""
    with pytest.raises(EngineError) as error:
        fetch(MAIN, str(tmp_path / "mirror"), tmp_path / "x", Silent())
    assert str(tmp_path / "mirror" / MAIN) in str(error.value)
    assert "kubeflow_mirror" in str(error.value) and "KUBEFLOW_MIRROR" in str(error.value)


class Server(http.server.ThreadingHTTPServer):
    """A mirror that breaks off, with what it was asked."""

    content = b""
    etag = '"one"'
    cut = 0
    asked: List[Optional[str]]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one file, with ranges."""

    server: Server

    def do_GET(self) -> None:
        """Send the file, or the rest of it, or the beginning of it."""
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if not self.path.endswith(MAIN):
            self.send_error(404)
            return
        start = 0
        if wanted and self.headers.get("If-Range") == self.server.etag:
            start = int(wanted[len("bytes=") : -1])
        self.send_response(206 if start else 200)
        body = self.server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.etag)
        self.end_headers()
        self.wfile.write(body[: self.server.cut or None])

    def log_message(self, *_args: Any) -> None:
        """Be quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A mirror on the loopback."""
    running = Server(("127.0.0.1", 0), Handler)
    running.content = bytes(range(256)) * 4000
    running.asked = []
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def _url(server_: Server) -> str:
    return "http://127.0.0.1:%d" % server_.server_address[1]


def test_a_transfer_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    """Slow lines break; three megabytes are not fetched twice."""
    server.cut = 500_000
    with pytest.raises(EngineError, match="broke off|cannot be fetched"):
        fetch(MAIN, _url(server), tmp_path / "x", Silent())
    assert not (tmp_path / "x").exists()
    server.cut = 0
    fetch(MAIN, _url(server), tmp_path / "x", Silent())
    assert (tmp_path / "x").read_bytes() == server.content
    assert server.asked == [None, "bytes=500000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_file_that_changed_meanwhile_is_fetched_whole(server: Server, tmp_path: Path) -> None:
    """Archives are not byte-stable: two halves of two files would be corrupt."""
    server.cut = 500_000
    with pytest.raises(EngineError):
        fetch(MAIN, _url(server), tmp_path / "x", Silent())
    server.cut, server.etag, server.content = 0, '"two"', b"new" * 1000
    fetch(MAIN, _url(server), tmp_path / "x", Silent())
    assert (tmp_path / "x").read_bytes() == server.content


def test_a_server_without_the_file_is_named(server: Server, tmp_path: Path) -> None:
    """Address, status, and how to set the mirror."""
    with pytest.raises(EngineError) as error:
        fetch(OTHER, _url(server), tmp_path / "x", Silent())
    assert _url(server) + "/" + OTHER in str(error.value) and "404" in str(error.value)
    assert "kubeflow_mirror" in str(error.value)


# --- archives that are not trusted ---


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


BAD = {
    "absolute": (_member("/etc/x"), "leaves the tree"),
    "upwards": (_member("top-1/../../x"), "leaves the tree"),
    "link out": (_member("top-1/a", tarfile.SYMTYPE, "../../x"), "a link that leaves the tree"),
    "absolute link": (_member("top-1/a", tarfile.SYMTYPE, "/etc"), "a link that leaves the tree"),
    "hard link": (_member("top-1/a", tarfile.LNKTYPE, "top-1/f"), "neither a plain file"),
    "device": (_member("top-1/a", tarfile.CHRTYPE), "neither a plain file"),
    "pipe": (_member("top-1/a", tarfile.FIFOTYPE), "neither a plain file"),
    "link over a file": (_member("top-1/f", tarfile.SYMTYPE, "g"), "a link and a file of the same name"),
}


@pytest.mark.parametrize(("member", "told"), BAD.values(), ids=BAD)
def test_archives_that_reach_out_are_refused(tmp_path: Path, member: tarfile.TarInfo, told: str) -> None:
    """Nothing is written outside of the tree, whatever the archive says."""
    (tmp_path / "a.tar.gz").write_bytes(_tar({"f": "x"}, members=(member,)))
    with pytest.raises(EngineError, match=told) as error:
        unpack(tmp_path / "a.tar.gz", "http://mirror/a", tmp_path / "tree", strip=1, keep=[])
    assert "http://mirror/a" in str(error.value)


def test_a_chain_of_links_cannot_lead_out(tmp_path: Path) -> None:
    """Each link looks harmless; where it really leads is what counts."""
    members = (
        _member("top-1/d/deep", tarfile.SYMTYPE, ".."),
        _member("top-1/out", tarfile.SYMTYPE, "d/deep/../../x"),
    )
    (tmp_path / "a.tar.gz").write_bytes(_tar({"f": "x"}, members=members))
    with pytest.raises(EngineError, match="leaves the tree"):
        unpack(tmp_path / "a.tar.gz", "x", tmp_path / "tree", strip=1, keep=[])


def test_links_inside_the_tree_are_kept(tmp_path: Path) -> None:
    """Upstream's repositories have some."""
    (tmp_path / "a.tar.gz").write_bytes(_tar({"f": "x"}, members=(_member("top-1/d/l", tarfile.SYMTYPE, "../f"),)))
    unpack(tmp_path / "a.tar.gz", "x", tmp_path / "tree", strip=1, keep=[])
    assert (tmp_path / "tree/d/l").read_text() == "x"


def test_absurd_sizes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb stops at its header, before its bytes."""
    monkeypatch.setattr(archives, "MAX_FILE", 1000)
    (tmp_path / "a.tar.gz").write_bytes(_tar({"f": "x" * 2000}))
    with pytest.raises(EngineError, match="absurd size"):
        unpack(tmp_path / "a.tar.gz", "x", tmp_path / "tree", strip=1, keep=[])


@pytest.mark.parametrize("damage", ["truncated", "corrupt", "no archive"])
def test_a_damaged_archive_names_file_and_address(small: Release, tmp_path: Path, mirror: Path, damage: str) -> None:
    """And the next run fetches it anew."""
    whole = _tar({**MAIN_FILES, "noise": "".join(chr(33 + (at * 7919) % 90) for at in range(20000))})
    flipped = bytearray(gzip.decompress(whole))
    bad = {"truncated": whole[: len(whole) // 2], "corrupt": b"\x1f\x8b" + whole[40:], "no archive": bytes(flipped[:600])}
    _put(mirror, MAIN, bad[damage])
    with pytest.raises(EngineError, match="corrupt or truncated") as error:
        _ensure(small, tmp_path, mirror)
    assert str(mirror / MAIN) in str(error.value)
    assert str(tmp_path / "cache/sources/archives" / MAIN) in str(error.value)
    _put(mirror, MAIN, _tar(MAIN_FILES))
    _ensure(small, tmp_path, mirror)
