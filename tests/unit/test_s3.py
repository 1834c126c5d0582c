# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to an object store: whole objects or none, what a broken connection costs, what errors say."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Tuple

import botocore.exceptions
import botocore.session
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import s3, s3_client
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.s3 import S3Error, S3Store
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.s3_wire import Wire

from .s3_support import Memory, refusal

SECRET = "wJalrXUtnFEMI-never-shown"
MARK = bytes(range(256)) * 5


@pytest.fixture(name="memory")
def _memory() -> Memory:
    return Memory()


@pytest.fixture(name="store")
def _store(memory: Memory) -> S3Store:
    return S3Store("s3://data/backups", memory.bucket(), "backups/")


@pytest.fixture(name="small_parts", autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 1000 bytes, so that nothing here is large."""
    monkeypatch.setattr(s3, "PART", 1000)
    monkeypatch.setattr(s3, "PIECE", 100)


# ------------------------------------------------------------------ the store for backups


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000, 5500])
def test_any_length_comes_back_as_it_went_in(store: S3Store, memory: Memory, size: int) -> None:
    """At the borders of parts, too; and in parts only what needs them."""
    data = (MARK * 5)[:size]
    stored = store.put("a/b.gz", (data[at : at + 300] for at in range(0, size, 300)))
    assert (stored.name, stored.size, stored.sha256) == ("a/b.gz", size, hashlib.sha256(data).hexdigest())
    assert b"".join(store.get("a/b.gz")) == data
    assert memory.count("upload_part") == (-(-size // 1000) if size > 1000 else 0)


def test_the_source_ends_in_an_error_nothing_is_stored_and_the_older_file_stays(store: S3Store, memory: Memory) -> None:
    """All or nothing: the parts are given up, and the source's error comes out as itself."""
    store.put("x", [b"older"])

    def source() -> Iterator[bytes]:
        yield b"y" * 3500
        raise EngineError("the database went away")

    with pytest.raises(EngineError, match="the database went away"):
        store.put("x", source())
    assert b"".join(store.get("x")) == b"older"
    assert memory.uploads == {} and memory.count("abort_multipart_upload") == 1


def test_a_part_that_is_refused_gives_up_the_whole_upload(store: S3Store, memory: Memory) -> None:
    """The store is full at the third part."""

    def full(told: Dict[str, Any]) -> None:
        if told["PartNumber"] == 3:
            raise refusal("XMinioStorageFull", "Storage backend has reached its minimum free drive threshold.")

    memory.before["upload_part"] = full
    with pytest.raises(S3Error, match="the store is full") as caught:
        store.put("x", [b"z" * 5000])
    assert "delete what is not needed" in str(caught.value)
    assert memory.objects == {} and memory.uploads == {}


def test_names_are_sorted_and_under_the_prefix_only(store: S3Store, memory: Memory) -> None:
    """Whatever the order of the store is."""
    memory.order, memory.page = lambda key: key.replace("/", "\0"), 2
    memory.fill(("backups/a/1", b"1"), ("backups/a-b", b"22"), ("backupsx", b""), ("backups/b/", b""), ("backups/c", b"333"))
    assert [(item.name, item.size) for item in store.list()] == [("a-b", 2), ("a/1", 1), ("c", 3)]
    assert [item.name for item in store.list("a/")] == ["a/1"]
    store.remove("c")
    store.remove("c")
    assert [item.name for item in store.list("c")] == []


def test_what_is_not_there_is_named(store: S3Store) -> None:
    """With the bucket and the store."""
    with pytest.raises(S3Error, match="object backups/x in bucket data at http://store:9000: the object is not there") as caught:
        list(store.get("x"))
    assert caught.value.missing and "use another backup" in str(caught.value)


def test_check_writes_and_deletes_a_tiny_object(store: S3Store, memory: Memory) -> None:
    """Nothing of it stays."""
    store.check(1 << 40)
    assert memory.objects == {} and memory.count("put_object") == memory.count("delete_object") == 1


@pytest.mark.parametrize(
    ("operation", "code", "words"),
    [
        ("list_objects_v2", "NoSuchBucket", ("there is no such bucket", "make the bucket")),
        ("list_objects_v2", "InvalidAccessKeyId", ("does not accept these keys", "access_key and secret_key")),
        ("list_objects_v2", "SignatureDoesNotMatch", ("does not accept these keys", "access_key and secret_key")),
        ("list_objects_v2", "AccessDenied", ("denies this with these keys", "let these keys list, read, write")),
        ("put_object", "AccessDenied", ("the bucket cannot be written: the store denies this", "let these keys list, read, write")),
        ("delete_object", "AccessDenied", ("the bucket cannot be written: the store denies this", "or set other keys")),
        ("put_object", "QuotaExceeded", ("the store is full", "more space")),
        ("put_object", "SlowDown", ("cannot answer now", "the store's own log")),
        ("list_objects_v2", "PermanentRedirect", ("in another region", "set region")),
        ("list_objects_v2", "RequestTimeTooSkewed", ("the clocks", "set both clocks")),
        ("put_object", "SomethingNew", ("the store refuses it", "own log")),
    ],
)
def test_check_says_what_stands_against_a_backup_scripted_answers(
    store: S3Store, memory: Memory, operation: str, code: str, words: Tuple[str, str]
) -> None:
    """First the cause, then what to do; the bucket is named."""

    def refuse(told: Dict[str, Any]) -> None:
        raise refusal(code, "words of the store")

    memory.before[operation] = refuse
    with pytest.raises(S3Error) as caught:
        store.check()
    text = str(caught.value)
    assert "bucket data at http://store:9000" in text.splitlines()[0] or "object backups/" in text.splitlines()[0]
    assert all(word in text for word in words), text
    assert "%s: words of the store" % code in text


# ------------------------------------------------------------------ reading on, and bytes that are others


def test_a_broken_connection_is_taken_up_where_it_broke(memory: Memory) -> None:
    """For the same version only, and every byte once."""
    memory.fill(("x", MARK))
    memory.breaks["x"] = 100
    assert b"".join(s3.open_object(memory.bucket(), "x").chunks) == MARK
    assert memory.count("get_object") == 13


def test_a_connection_that_gives_nothing_more_is_given_up(memory: Memory) -> None:
    """After a few times without one byte in between."""
    memory.fill(("x", MARK))
    memory.breaks["x"] = 0
    with pytest.raises(S3Error, match="the connection breaks while it is read: .*reset") as caught:
        list(s3.open_object(memory.bucket(), "x").chunks)
    assert "1280 bytes" in caught.value.expected and caught.value.found == "0 bytes"
    assert memory.count("get_object") == s3.CONTINUES + 1


def test_two_versions_are_never_mixed(memory: Memory) -> None:
    """The connection broke, and meanwhile the object was replaced."""
    memory.fill(("x", MARK))
    memory.breaks["x"] = 100
    chunks = s3.open_object(memory.bucket(), "x").chunks
    assert next(chunks) == MARK[:100]
    memory.fill(("x", MARK[::-1]))
    with pytest.raises(S3Error, match="changed while it was read") as caught:
        list(chunks)
    assert caught.value.changed


def test_a_store_that_knows_no_if_match_mixes_no_versions_either(memory: Memory) -> None:
    """It answers with the new version: its ETag tells."""

    def forget(told: Dict[str, Any]) -> None:
        told.pop("IfMatch", None)

    memory.before["get_object"] = forget
    memory.fill(("x", MARK))
    memory.breaks["x"] = 100
    chunks = s3.open_object(memory.bucket(), "x").chunks
    next(chunks)
    memory.fill(("x", MARK[::-1]))
    with pytest.raises(S3Error, match="changed while it was read"):
        list(chunks)


@pytest.mark.parametrize("size", [10, 3000])
def test_a_store_that_has_other_bytes_than_it_was_sent_is_found_out(memory: Memory, size: int) -> None:
    """One bit on the way, in an object and in a part; nothing stays of the upload."""

    def flip(told: Dict[str, Any]) -> None:
        told["Body"] = b"\x01" + bytes(told["Body"])[1:]

    memory.before["put_object"] = memory.before["upload_part"] = flip
    with pytest.raises(S3Error, match="other bytes than it was sent"):
        s3.put_stream(memory.bucket(), "x", [bytes(size)])
    assert memory.uploads == {}


@pytest.mark.parametrize(
    ("size", "fixed", "sizes"), [(0, 0, [1000, 1000, 1000]), (3000, 1500, [1500, 1500]), (3001, 0, [1000, 1000, 1000, 1])]
)
def test_parts_have_the_size_that_was_wished(size: int, fixed: int, sizes: List[int]) -> None:
    """The last one has the rest."""
    parts = list(s3._parts([bytes(size or 3000)], size, fixed))
    assert [len(part) for part in parts] == sizes


def test_even_the_largest_object_has_few_enough_parts() -> None:
    """Of known and of unknown length: 10,000 is the limit of every store."""
    size = 5 << 40
    assert -(-size // s3.part_size(1, size)) <= 10_000
    assert sum(s3.part_size(number) for number in range(1, 10_001)) > 10**12


def test_text_that_http_cannot_carry_is_written_as_in_mail(memory: Memory) -> None:
    """Metadata in UTF-8, which HTTP's library reads as Latin-1; headers of ours that are none of an object's are not sent."""
    sent: Dict[str, Any] = {}
    memory.before["put_object"] = sent.update
    headers = {"Metadata": {"who": "Jörg".encode().decode("latin-1"), "plain": "x"}, "ACL": "public-read"}
    s3.put_object(memory.bucket(), "x", b"1", headers)
    assert sent["Metadata"] == {"who": "=?UTF-8?B?SsO2cmc=?=", "plain": "x"} and "ACL" not in sent


def test_a_list_that_does_not_go_on_ends_in_an_error(memory: Memory) -> None:
    """Never in half a backup."""

    class Endless(Memory):
        """Always the same page."""

        def list_objects_v2(self, **told: Any) -> Dict[str, Any]:
            return {**super().list_objects_v2(**told), "IsTruncated": True, "NextContinuationToken": "same"}

    endless = Endless()
    endless.fill(("x", b""))
    with pytest.raises(S3Error, match="list does not go on"):
        list(s3.list_objects(endless.bucket()))


# ------------------------------------------------------------------ connecting


@pytest.mark.parametrize(
    "place", ["s3://", "s3://UPPER", "s3://key:%s@bucket/x" % SECRET, "s3://bucket/../x", "s3://bucket/a//b", "/srv/backups", "s3:/bucket"]
)
def test_places_that_are_none(place: str) -> None:
    """And a key that was written into one is not repeated."""
    with pytest.raises(EngineError, match="no name of a bucket") as caught:
        S3Store.open(place, {})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "minio:9000",
        "ftp://minio",
        "http://",
        "http://u:%s@minio" % SECRET,
        "http://%s@minio" % SECRET,
        "http://minio:port",
        "http://[",
        "https://minio?key=" + SECRET,
    ],
)
def test_addresses_that_are_none(endpoint: str) -> None:
    """They are not quoted: there may be a key in them."""
    with pytest.raises(EngineError, match="address of the object store cannot be used") as caught:
        s3.connect({"endpoint": endpoint, "access_key": "a", "secret_key": "b"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"access_key": "only"}, "one of the two keys is missing"),
        ({"secret": SECRET}, "there is no such setting of an object store: secret"),
        ({"ca_file": "/does/not/exist"}, "no such file of certificates"),
    ],
)
def test_settings_that_cannot_be_used(settings: Dict[str, Any], words: str) -> None:
    """Before anything is sent."""
    with pytest.raises(EngineError, match=words) as caught:
        s3.connect({"endpoint": "http://minio", **settings})
    assert SECRET not in str(caught.value)


def test_a_client_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in its text nor in the error of a store that repeats it."""
    given: Dict[str, Any] = {}

    class Session:
        """The library's session: making a real client takes longer than all tests here."""

        @staticmethod
        def get_component(name: str) -> Any:
            return SimpleNamespace(set_parser_defaults=lambda **told: None)

        @staticmethod
        def create_client(name: str, **told: Any) -> Any:
            given.update(told)
            return SimpleNamespace(meta=SimpleNamespace(region_name=told["region_name"]))

    monkeypatch.setattr(botocore.session, "get_session", Session)
    client = s3.connect({"endpoint": "http://127.0.0.1:9", "access_key": "AKIAIOSFODNN7", "secret_key": SECRET, "region": "eu-1"})
    store = S3Store("s3://data", s3.Bucket(client, "data"), "")
    told = client.explained(refusal("SignatureDoesNotMatch", "key %s of AKIAIOSFODNN7" % SECRET), "bucket data")
    for text in (repr(client), repr(vars(store)), str(told), repr(told)):
        assert SECRET not in text and "AKIAIOSFODNN7" not in text
    assert (given["region_name"], given["aws_secret_access_key"]) == ("eu-1", SECRET)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            botocore.exceptions.EndpointConnectionError(endpoint_url="http://s/b?list-type=2", error="[Errno 111] Connection refused"),
            ("no answer from http://s: [Errno 111] Connection refused", "the store runs"),
        ),
        (
            botocore.exceptions.SSLError(
                endpoint_url="https://s",
                error="[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1000)",
            ),
            ("the certificate of http://s is not trusted", "self-signed certificate", "set ca_file"),
        ),
        (
            botocore.exceptions.SSLError(endpoint_url="https://s", error="[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)"),
            ("does not speak TLS", "set endpoint to http://"),
        ),
        (botocore.exceptions.NoCredentialsError(), ("no keys of the store", "set access_key and secret_key")),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="http://s/b?x=y"), ("no answer from http://s: Read timeout",)),
    ],
)
def test_what_no_answer_means(problem: Exception, words: Tuple[str, ...]) -> None:
    """In one line, without the query that was sent."""
    text = str(s3_client.Client(None, "http://s").explained(problem, "bucket b"))
    assert all(word in text for word in words), text
    assert "list-type" not in text and "x=y" not in text


# ------------------------------------------------------------------ the short way for small objects


def test_the_short_way_signs_as_the_library_does() -> None:
    """The same request, the same signature: what the library's own signer says."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = ("AKIAIOSFODNN7", SECRET, "token")
    wire = Wire(None, "", "store:9000", "eu-1", keys)
    path = "/data/a%20b/%C3%BC"
    sha256 = hashlib.sha256(b"body").hexdigest()
    ours = wire._signed("PUT", path, sha256, {"x-amz-meta-who": "me", "content-type": "text/plain"})
    request = AWSRequest("PUT", "http://store:9000" + path, headers={"x-amz-meta-who": "me"}, data=b"body")
    request.context["timestamp"] = ours["x-amz-date"]
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    request.headers["X-Amz-Content-SHA256"] = sha256
    request.headers["X-Amz-Security-Token"] = "token"
    signer = S3SigV4Auth(Credentials(*keys), "s3", "eu-1")
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert ours["authorization"].endswith("Signature=" + signer.signature(text, request))


@pytest.mark.parametrize(
    "headers", [{"ContentType": "a  b"}, {"Metadata": {"who": "Jörg"}}, {"Metadata": {"a b": "c"}}, {"ContentType": "x\r\ny: z"}]
)
def test_headers_that_need_care_take_the_long_way(headers: Dict[str, Any]) -> None:
    """Nothing is sent: there is no connection here that could be used."""
    assert Wire(None, "", "store", "eu-1", ("a", "b", "")).put("data", "x", b"", b"", headers) is None
