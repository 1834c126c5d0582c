# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps of real MariaDB servers: all of a site comes back, one moment is one moment, and every way to fail is noticed."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import dumping
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.dumping import DumpCounts, MySql, read_back
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.transports import LocalCommand

from . import mariadb_support
from .mariadb_support import PASSWORD, SITE, Server
from .support import EXHAUSTIVE

RUNS = 10_000 if EXHAUSTIVE else 1_000
ODD = r"""
CREATE DATABASE `d-odd.1` CHARACTER SET latin1;
CREATE DATABASE nothing_in_it;
USE `d-odd.1`;
CREATE TABLE `t ``x`` y;` (`a key` bigint unsigned PRIMARY KEY AUTO_INCREMENT, txt longtext CHARACTER SET utf8mb4, bin longblob, js json,
  `) VALUES (` varchar(50) DEFAULT 'it''s \n INSERT INTO `z` VALUES (1);' COMMENT 'a;b\nDELIMITER ;;', flags set('a','b''c'), bits bit(9),
  price decimal(60,30), at timestamp(6) NULL, letters bigint AS (char_length(txt)) STORED) COMMENT '-- Dump completed';
INSERT INTO `t ``x`` y;` (`a key`, txt, bin, js, flags, bits, price, at) VALUES
  (18446744073709551614, 'line\nINSERT INTO `evil` VALUES (1);\r\n-- Dump completed on\n\\\' \0 end \Z', 0x00FF0A0D27225C, '{"a": "b\\n"}',
   'a,b''c', b'101010101', '123456789012345678901234567890.123456789012345678901234567891', '2026-03-29 02:30:00.123456'),
  (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (2, '', '', '[]', '', 0, 0, '1970-01-02'),
  (3, '😀 漢字 ''"`;', x'C3A9', 'null', 'a', 1, -1.5, NULL);
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO `t ``x`` y;` (`a key`, `) VALUES (`) VALUES (0, 'zero');
CREATE TABLE empty (id int);
CREATE TABLE log (id int PRIMARY KEY AUTO_INCREMENT, what text) PARTITION BY HASH (id) PARTITIONS 3;
CREATE SEQUENCE numbers START WITH 5;
CREATE VIEW v AS SELECT 'a
INSERT INTO x' AS q, `a key` AS id FROM `t ``x`` y;`;
CREATE VIEW on_view AS SELECT COUNT(*) AS n FROM v;
DELIMITER //
CREATE TRIGGER before_log BEFORE INSERT ON log FOR EACH ROW begin
-- it's a "comment
/* DELIMITER ;
-- Dump completed */
set NEW.what = concat(NEW.what, ' seen;;
INSERT INTO `evil` VALUES (1);
');
end//
CREATE PROCEDURE p(IN x int) begin
INSERT INTO log (what)
VALUES (concat('p', x));
# a comment's end
end//
SET sql_mode = 'NO_BACKSLASH_ESCAPES'//
CREATE FUNCTION f() RETURNS text DETERMINISTIC return 'a backslash \'//
CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DISABLE DO select 'DELIMITER ;';
//
DELIMITER ;
INSERT INTO log (what) VALUES ('one'), ('two');
CALL p(3);
"""
BANK = """
CREATE DATABASE bank1; CREATE DATABASE bank2; CREATE DATABASE bank3;
CREATE TABLE bank1.a (id int PRIMARY KEY, money bigint); INSERT INTO bank1.a VALUES (1, 1000000);
USE bank2;
CREATE TABLE bank2.padding (id int PRIMARY KEY, x longtext); INSERT INTO bank2.padding SELECT seq, REPEAT('x', 10000) FROM seq_1_to_300;
CREATE TABLE bank3.b (id int PRIMARY KEY, money bigint); INSERT INTO bank3.b VALUES (1, 0);
DELIMITER //
CREATE PROCEDURE bank2.move() begin
while (select count(*) from bank2.padding where id = 0) = 0 do
start transaction; update bank1.a set money = money - 1; update bank3.b set money = money + 1; commit;
end while;
end//
DELIMITER ;
"""
BANKS = ("bank1", "bank2", "bank3")
MONEY = "SELECT (SELECT money FROM bank1.a), (SELECT money FROM bank3.b);"


@pytest.fixture(name="folder", scope="module")
def _folder() -> Iterator[Path]:
    """Short, as the path of a socket has to be."""
    made = Path(tempfile.mkdtemp(prefix="db-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(name="source", scope="module")
def _source(folder: Path) -> Iterator[Server]:
    """A server with a site's data, which no test changes."""
    server = mariadb_support.start(folder / "source")
    try:
        mariadb_support.fill(server, RUNS)
        yield server
    finally:
        server.stop()


@pytest.fixture(name="other", scope="module")
def _other(folder: Path) -> Iterator[Server]:
    server = mariadb_support.start(folder / "target")
    yield server
    server.stop()


@pytest.fixture(name="target")
def _target(other: Server) -> Server:
    """A server with no data."""
    other.empty()
    return other


def dumped(mysql: MySql, databases: Tuple[str, ...] = SITE) -> Tuple[List[bytes], DumpCounts]:
    """A whole dump."""
    counts = DumpCounts()
    chunks = list(mysql.dump(databases, counts))
    return chunks, counts


# ---------------------------------------------------------------- all of it comes back


def test_a_site_comes_back_as_it_was_and_twice_is_once(source: Server, target: Server) -> None:
    """Every table has the checksum it had; counts agree between server, stream and stored text."""
    mysql = source.mysql()
    assert mysql.databases() == list(SITE)
    assert mysql.version().startswith("10.") or mysql.version().startswith("11.")
    began = time.monotonic()
    chunks, counts = dumped(mysql)
    took = time.monotonic() - began
    assert counts.rows == mysql.row_counts(SITE) == read_back(chunks).rows
    assert counts.rows["mlpipeline.run_details"] == RUNS and counts.rows["mlpipeline.jobs"] == 0
    assert counts.finished and counts.server == mysql.version()
    size = sum(map(len, chunks))
    assert size / 5 < mysql.size(SITE) < size * 5
    checksums = source.checksums(SITE)
    assert len(checksums) == len(counts.rows) and not [line for line in checksums if line.endswith("NULL")]
    for _time in range(2):
        began = time.monotonic()
        target.mysql().load(chunks)
        print(
            "%d rows, %.1f MB: dumped in %.1f s, played in %.1f s" % (sum(counts.rows.values()), size / 1e6, took, time.monotonic() - began)
        )
        assert target.checksums(SITE) == checksums
    assert target.mysql().row_counts(SITE) == counts.rows
    again, _counts = dumped(target.mysql())
    assert _without_times(b"".join(again)) == _without_times(b"".join(chunks))


def _without_times(text: bytes) -> List[bytes]:
    return [line for line in text.splitlines() if not line.startswith((b"-- Dump completed on", b"-- Host"))]


def test_whatever_is_in_a_database_comes_back(other: Server, folder: Path) -> None:
    """Names, texts and bytes of any kind, views, triggers, routines, events, and a database with nothing in it."""
    second = mariadb_support.start(folder / "second")
    try:
        other.empty()
        other.sql(ODD)
        databases = ("d-odd.1", "nothing_in_it")
        chunks, counts = dumped(other.mysql(), databases)
        assert counts.rows == {"d-odd.1.t `x` y;": 5, "d-odd.1.empty": 0, "d-odd.1.log": 3}
        assert counts.rows == other.mysql().row_counts(databases)
        for _time in range(2):
            second.mysql().load(chunks)
            assert second.mysql().databases() == list(databases)
            assert second.checksums(databases) == other.checksums(databases)
            assert [second.definitions(name) for name in databases] == [other.definitions(name) for name in databases]
        definitions = other.definitions("d-odd.1")
        assert all(word in definitions for word in ("it's a", "a comment's end", "a backslash", "DELIMITER ;", "before_log"))
        assert second.sql("CALL `d-odd.1`.p(7); SELECT what FROM `d-odd.1`.log ORDER BY id DESC LIMIT 1;").startswith("p7 seen;;")
        assert second.sql("SELECT n FROM `d-odd.1`.on_view;") == "5\n"
        assert second.sql("SELECT HEX(bin), price FROM `d-odd.1`.`t ``x`` y;` WHERE `a key` > 99;").startswith("00FF0A0D27225C\t1234567")
    finally:
        second.stop()


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_dump_is_of_one_moment(target: Server, monkeypatch: pytest.MonkeyPatch, snapshot: bool) -> None:
    """Money moves from a table at the beginning of the dump to one at its end; without the snapshot some would be there twice."""
    target.sql(BANK)
    if not snapshot:
        options = ["--skip-lock-tables" if word == "--single-transaction" else word for word in dumping.__dict__["_DUMP_OPTIONS"]]
        monkeypatch.setattr(dumping, "_DUMP_OPTIONS", tuple(options))
    writer = target.client()
    try:
        assert writer.stdin is not None
        writer.stdin.write(b"CALL bank2.move();\n")
        writer.stdin.flush()
        target.wait_for("SELECT 1 FROM bank3.b WHERE money > 10;")
        counts = DumpCounts()
        running = target.mysql().dump(BANKS, counts)
        chunks = [next(running)]
        while b"CREATE TABLE `padding`" not in b"".join(chunks):
            chunks.append(next(running))
        before = int(target.sql(MONEY).split("\t")[1])
        target.wait_for("SELECT 1 FROM bank3.b WHERE money > %d;" % (before + 50))
        chunks += running
    finally:
        target.sql("INSERT INTO bank2.padding VALUES (0, '');")
        writer.communicate()
    moved = int(target.sql(MONEY).split("\t")[1])
    assert moved > before
    target.mysql().load(chunks)
    left, arrived = map(int, target.sql(MONEY).split("\t"))
    assert left < 1_000_000 and arrived < moved if snapshot else True
    assert (left + arrived == 1_000_000) is snapshot


# ---------------------------------------------------------------- what is wrong is said


@pytest.mark.parametrize(
    ("change", "cause", "next_step"),
    [
        ({"password": "wrong"}, "Access denied for user 'root'", "password"),
        ({"user": "nobody"}, "Access denied for user 'nobody'", "password"),
        ({"socket": "/nonexistent/s"}, "Can't connect to local server", "server runs"),
        ({"host": "127.0.0.1", "port": 1, "socket": ""}, "Can't connect to server on '127.0.0.1'", "server runs"),
    ],
)
def test_a_server_that_lets_nobody_in(source: Server, change: Dict[str, Any], cause: str, next_step: str) -> None:
    """The server's or the client's words, and what to check; no password."""
    mysql = source.mysql(login=replace(source.login(), **change))
    for action in (mysql.version, lambda: list(mysql.dump(SITE, DumpCounts())), lambda: mysql.load([b""])):
        with pytest.raises(EngineError) as caught:
            action()
        assert cause in caught.value.cause and next_step in caught.value.next_step
        assert "wrong" not in str(caught.value) and PASSWORD not in str(caught.value)


def test_an_account_without_rights_is_told_which(source: Server) -> None:
    """It sees no other databases, and of its own it may not read all; with the rights that docs ask for it can dump."""
    source.sql("CREATE USER weak@localhost IDENTIFIED BY 'w'; GRANT SELECT ON mlpipeline.* TO weak@localhost;")
    try:
        mysql = source.mysql(login=source.login("weak", "w"))
        with pytest.raises(EngineError, match="no database katib"):
            list(mysql.dump(("katib",), DumpCounts()))
        with pytest.raises(EngineError, match="denied") as caught:
            list(mysql.dump(("mlpipeline",), DumpCounts()))
        assert "rights" in caught.value.next_step
        source.sql("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON mlpipeline.* TO weak@localhost;")
        assert dumped(mysql, ("mlpipeline",))[1].finished
        accounts = {(account.user, account.host): account.plugin for account in source.mysql().accounts()}
        assert accounts[("weak", "localhost")] == "mysql_native_password"
    finally:
        source.sql("DROP USER weak@localhost;")


def test_tables_that_cannot_be_in_a_snapshot_are_refused(target: Server) -> None:
    """Before anything is dumped, and by name."""
    target.sql("CREATE DATABASE d; CREATE TABLE d.old (id int) ENGINE=MyISAM;")
    with pytest.raises(EngineError, match="no transactions") as caught:
        dumped(target.mysql(), ("d",))
    assert caught.value.subject.endswith("table d.old")
    target.sql("DROP TABLE d.old; CREATE TABLE d.`x\n\\\\! touch /tmp/x` (id int);")
    with pytest.raises(EngineError, match="control character"):
        dumped(target.mysql(), ("d",))


def test_a_dump_whose_connection_is_killed_is_not_whole(source: Server) -> None:
    """The error says at which row; the data are what they were, and the next dump is whole."""
    checksums = source.checksums(SITE)
    counts = DumpCounts()
    running = source.mysql().dump(SITE, counts)
    next(running)
    ours = source.wait_for("SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT /*!40001 SQL_NO_CACHE%';")
    source.sql("KILL CONNECTION %s;" % ours)
    with pytest.raises(EngineError, match="cannot dump cachedb, .*Lost connection") as caught:
        list(running)
    assert not counts.finished and "run again" in caught.value.next_step
    assert source.checksums(SITE) == checksums
    assert dumped(source.mysql())[1].finished


def test_a_dump_whose_server_ends_is_not_whole(folder: Path) -> None:
    """mariadbd is killed in the middle."""
    victim = mariadb_support.start(folder / "victim")
    try:
        mariadb_support.fill(victim, 300)
        running = victim.mysql().dump(SITE, DumpCounts())
        next(running)
        victim.process.kill()
        with pytest.raises(EngineError, match="cannot dump"):
            list(running)
    finally:
        victim.stop()


def test_a_server_that_says_nothing_is_given_up(source: Server) -> None:
    """Somebody holds a lock on a table; afterwards no client of ours is left on the server."""
    holder = source.client()
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdin.write(b"LOCK TABLES mlpipeline.tasks WRITE; SELECT 'locked';\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == b"locked\n"
    try:
        began = time.monotonic()
        with pytest.raises(EngineError, match="nothing came from sh, and it took nothing, for 1 s"):
            dumped(source.mysql(LocalCommand(idle_timeout=1.0)))
        assert time.monotonic() - began < 30
    finally:
        holder.communicate()
    # The dump's own connection sees that nobody listens any more; then ours, which asks, is the only one.
    source.wait_for("SELECT 'gone' FROM dual WHERE (SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'root') = 1;")


def test_a_dump_that_was_cut_is_not_played_as_if_it_were_whole(source: Server, target: Server) -> None:
    """Cut in a row, between rows, or broken off by its source: an error each time, and playing it whole repairs all."""
    text = b"".join(dumped(source.mysql())[0])
    checksums = source.checksums(SITE)

    def broken() -> Iterator[bytes]:
        yield text[: len(text) // 2]
        raise EngineError("the store went away")

    cuts: List[Tuple[Iterator[bytes], str]] = [
        (iter([text[: len(text) // 2]]), "not whole"),
        (iter([text[: text.index(b"\nINSERT", len(text) // 3) + 1]]), "not whole"),
        (broken(), "the store went away"),
    ]
    for chunks, cause in cuts:
        with pytest.raises(EngineError, match=cause):
            target.mysql().load(chunks)
        assert target.checksums(SITE) != checksums
        target.mysql().load([text])
        assert target.checksums(SITE) == checksums


def test_a_row_that_is_too_long_for_the_server(source: Server, target: Server) -> None:
    """The server closes the connection; the error says why, and the site's other rows are joined within the limit."""
    source.sql("CREATE DATABASE big; CREATE TABLE big.t (x longtext); INSERT INTO big.t VALUES (REPEAT('y', 40000));")
    try:
        big, counts = dumped(source.mysql(), ("big",))
        assert 40000 < counts.longest < 40100
        chunks, _counts = dumped(source.mysql(), ("cachedb", "mlpipeline"))
        target.sql("SET GLOBAL max_allowed_packet = 16384;")
        with pytest.raises(EngineError, match="a row of the dump is longer than the server takes") as caught:
            target.mysql().load(big)
        assert caught.value.found == "16384 bytes" and str(counts.longest) in caught.value.expected
        target.mysql().load(chunks)
        assert target.checksums(("cachedb", "mlpipeline")) == source.checksums(("cachedb", "mlpipeline"))
        target.sql("SET GLOBAL max_allowed_packet = 16777216;")
        target.mysql().load(big)
        assert target.checksums(("big",)) == source.checksums(("big",))
    finally:
        source.sql("DROP DATABASE big;")
        target.sql("SET GLOBAL max_allowed_packet = 16777216;")


def test_the_first_error_stops_and_later_statements_are_not_run(target: Server) -> None:
    """With the server's words; commands of the client in a dump are nothing but an error."""
    end = b"CREATE DATABASE later;\n-- Dump completed\n"
    with pytest.raises(EngineError, match="cannot play the dump: ERROR 1049 .*Unknown database 'nowhere'"):
        target.mysql().load([b"USE `nowhere`;\n" + end])
    with pytest.raises(EngineError, match="cannot play the dump"):
        target.mysql().load([b"\\! touch %s/x\n;\n" % str(target.folder).encode() + end])
    assert target.mysql().databases() == [] and not (target.folder / "x").exists()


def test_nobody_sees_the_password(source: Server) -> None:
    """While a dump runs: not in any process's arguments, and not in our own environment."""
    running = source.mysql().dump(SITE, DumpCounts())
    next(running)
    seen = {path: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()}
    running.close()  # type: ignore[attr-defined]
    ours = [text for text in seen.values() if source.socket.encode() in text and b"dump" in text]
    assert ours and not [text for text in seen.values() if PASSWORD.encode() in text]
    assert PASSWORD.encode() not in Path("/proc/self/environ").read_bytes()
