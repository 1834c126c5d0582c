# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps without a server: counting rows in any text, joining them, and what is said to and heard from the client programs."""

from __future__ import annotations

import re
import subprocess
from typing import Dict, Iterable, Iterator, List, Sequence, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import dumping
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.dump_text import DumpReader, RowJoiner
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.dumping import Account, DumpCounts, Login, MySql, read_back
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.transports import ProgramFailed

HEAD = b"-- MySQL dump 10.13  Distrib 8.0.26\n-- Server version\t8.0.26\n\n/*!40101 SET NAMES utf8mb4 */;\n"
TAIL = b"/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n\n-- Dump completed on 2026-11-24 19:00:55\n"
TABLES = rb"""
CREATE DATABASE /*!32312 IF NOT EXISTS*/ `one` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;

USE `one`;
DROP TABLE IF EXISTS `t x``y`;
/*!50503 SET character_set_client = utf8mb4 */;
CREATE TABLE `t x``y` (
  `a;b` int NOT NULL COMMENT 'it''s; \'INSERT INTO `z` VALUES (1);',
  `c` text
) ENGINE=InnoDB COMMENT='x\nINSERT INTO `z`';
LOCK TABLES `t x``y` WRITE;
INSERT INTO `t x``y` (`a;b`, `c`) VALUES (1,'-- Dump completed\nINSERT INTO `q` VALUES (1);\\');
INSERT INTO `t x``y` (`a;b`, `c`) VALUES (2,'; DELIMITER ;; /* " ` # --');
INSERT INTO `t x``y` (`a;b`, `c`) VALUES
(3,NULL);
UNLOCK TABLES;
CREATE TABLE `empty` (
  `a` int
);
/*!50001 CREATE TABLE `view` (
  `a` int
) */;
CREATE TABLE `next` (
  `a` int
);
INSERT INTO `next` (`a`) VALUES (0x2D2D);
USE `two`;
CREATE TABLE `next` (
  `a` int
);
"""
BODIES = rb"""
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`%`*/ /*!50003 TRIGGER `tr` BEFORE INSERT ON `next` FOR EACH ROW begin
INSERT INTO `evil` VALUES (1);
set @b = '*/;;
INSERT INTO `evil` VALUES (3);';
-- it's a comment with one quote
# and "another
/* DELIMITER ;
-- Dump completed on */
set @a = 'text over
INSERT INTO `lines` VALUES (2);;
';
end */;;
DELIMITER ;
/*!50003 SET sql_mode              = 'NO_BACKSLASH_ESCAPES' */ ;
DELIMITER ;;
CREATE PROCEDURE `p`()
begin
select 'a backslash \';
INSERT INTO `evil` VALUES (1);
end ;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
INSERT INTO `next` (`a`) VALUES ('escaped again \';');
"""
ROWS = {"one.t x`y": 3, "one.empty": 0, "one.next": 1, "two.next": 1}
DUMP = HEAD + TABLES + BODIES + TAIL


def in_pieces(text: bytes, size: int) -> List[bytes]:
    """The text in pieces of this size."""
    return [text[start : start + size] for start in range(0, len(text), size)]


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_rows_are_counted_whatever_is_in_texts_comments_and_bodies(size: int) -> None:
    """Only what the client would run as a row of a table is one."""
    found = read_back(in_pieces(DUMP, size))
    assert found.rows == ROWS
    assert (found.finished, found.server) == (True, "8.0.26")


@pytest.mark.parametrize("end", [DUMP.index(b"INSERT INTO `evil`"), DUMP.index(b"(3,NULL"), -1 - len(TAIL), 0, len(DUMP) - len(TAIL) + 30])
def test_a_dump_that_was_cut_anywhere_is_not_finished(end: int) -> None:
    """In a body, a row, between statements, before everything, before the last line."""
    assert not read_back([DUMP[:end]]).finished


@pytest.mark.parametrize("more", [b"INSERT INTO `next` (`a`) VALUES (1);\n", b"USE `two`;\n", b"SELECT", b"/* x"])
def test_nothing_comes_after_the_last_line(more: bytes) -> None:
    """Two dumps in one, or a dump that goes on, are not what was asked for."""
    assert not read_back([DUMP + more]).finished
    assert read_back([DUMP + b"\n \n"]).finished


def test_the_first_line_of_newer_mariadb_hides_nothing() -> None:
    """It has no end, but the statement after it is another one."""
    head = b"/*M!999999\\- enable the sandbox mode */ \n-- Server version\t10.11.19-MariaDB-0+deb12u1\n"
    found = read_back([head + TABLES + TAIL])
    assert (found.rows, found.server, found.finished) == ({**ROWS, "two.next": 0}, "10.11.19-MariaDB", True)


def test_a_long_row_is_counted_without_being_kept() -> None:
    """Its length is known, its end is seen in another chunk; the text of the row may hold anything."""
    begin = HEAD + b"USE `d`;\nINSERT INTO `t` (`a`) VALUES ('"
    counts = DumpCounts()
    reader = DumpReader(counts)
    reader.feed(begin)
    for _turn in range(50):
        reader.feed(b"x;" * 50000)
        assert len(reader.__dict__["_head"]) < 200000
    reader.feed(b"');\nINSERT INTO `t` (`a`) VALUES ('y');\n" + TAIL)
    reader.close()
    assert (counts.rows, counts.finished) == ({"d.t": 2}, True)
    assert counts.longest == len("INSERT INTO `t` (`a`) VALUES ('');") + 50 * 100000


VALUES = st.text(alphabet="ab;'\"`\\()-#/*\n, V", max_size=12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b c", "VALUES (", "d``e"]), VALUES), max_size=12), st.integers(1, 40))
def test_any_rows_are_counted_and_joined(rows: List[tuple[str, str]], size: int) -> None:
    """Joined rows are the same rows in the same order, and the text around them is the same."""
    lines, expected = [], {}  # type: List[str], Dict[str, int]
    for table, value in rows:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        lines.append("INSERT INTO `%s` (`a`, `) VALUES (`) VALUES ('%s',1);\n" % (table, escaped))
        key = "d." + table.replace("``", "`")
        expected[key] = expected.get(key, 0) + 1
    text = b"USE `d`;\n" + "".join(lines).encode() + TAIL
    found = read_back(in_pieces(text, size))
    assert (found.rows, found.finished) == (expected, True)
    counts = DumpCounts()
    joiner = RowJoiner(DumpReader(counts), 200)
    joined = b"".join(map(joiner.feed, in_pieces(text, size))) + joiner.end()
    assert counts == found
    assert len(joined) <= len(text)
    assert _split(joined) == text


def _split(joined: bytes) -> bytes:
    """The rows of joined statements, one in a statement again."""
    lines = []
    for line in joined.splitlines(keepends=True):
        found = re.match(rb"INSERT INTO `[^(]*?` \(`a`, `\) VALUES \(`\) VALUES ", line) or re.match(
            rb"INSERT INTO .*?\) VALUES \(`\) VALUES ", line
        )
        if found is None:
            lines.append(line)
            continue
        for row in re.findall(rb"\('(?:[^'\\]|\\.)*',1\)", line[found.end() :]):
            lines.append(found.group(0) + row + b";\n")
    return b"".join(lines)


def test_rows_that_go_over_the_limit_stay_alone() -> None:
    """No statement is longer than the server takes because of us."""
    row = b"INSERT INTO `t` (`a`) VALUES ('%s');\n"
    text = b"USE `d`;\n" + b"".join(row % (b"x" * length) for length in (10, 10, 10, 500, 10, 10)) + TAIL
    joiner = RowJoiner(DumpReader(DumpCounts()), 100)
    lines = (joiner.feed(text) + joiner.end()).splitlines()
    lengths = [len(line) for line in lines if line.startswith(b"INSERT")]
    assert len(lengths) == 4
    assert [length for length in lengths if length > 100] == [len(row % (b"x" * 500)) - 1]


# ---------------------------------------------------------------- talking to the programs


class Scripted:
    """A transport that gives what it was told, and keeps what it was given."""

    where = "pod kubeflow/mysql-0 container main"

    def __init__(self, *answers: Union[bytes, ProgramFailed]) -> None:
        self._answers = list(answers)
        self.commands: List[Sequence[str]] = []
        self.inputs: List[bytes] = []

    def run(self, argv: Sequence[str], stdin: Iterable[bytes] = (), subject: str = "") -> Iterator[bytes]:
        """The next answer."""
        self.commands.append(argv)
        self.inputs.append(b"".join(stdin))
        answer = self._answers.pop(0)
        if isinstance(answer, ProgramFailed):
            raise answer
        yield answer


def failed(errors: str, status: int = 1) -> ProgramFailed:
    """How a client program ends."""
    return ProgramFailed("sh ended with exit status %d" % status, status=status, errors=errors, subject="", where=Scripted.where)


def server(transport: Scripted, **login: object) -> MySql:
    """A server that is reached like this."""
    return MySql(transport, Login(**{"user": "root", "password": "hunter2", **login}), "database server of pipelines")  # type: ignore[arg-type]


def test_a_password_is_in_no_argument_and_no_text() -> None:
    """It is the first line of the input and nowhere else."""
    transport = Scripted(b"8.0.26-debug\n")
    mysql = server(transport)
    assert mysql.version() == "8.0.26"
    assert "hunter2" not in "".join(transport.commands[0])
    assert transport.inputs[0] == b"hunter2\nSELECT VERSION();\n-- end of input\n"
    assert "hunter2" not in repr(Login("root", "hunter2"))
    with pytest.raises(EngineError, match="line end") as caught:
        server(Scripted(), password="hunter2\nx")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_shell_takes_the_password_and_leaves_the_rest(shell: str) -> None:
    """Spaces and backslashes stay, the new program is preferred, the old one is found, arguments are not split."""
    script = dumping.__dict__["_SCRIPT"]
    show = 'printf "%s|" "$MYSQL_PWD" "$@"; cat'
    for programs in (["sh", "no-such-program"], ["no-such-program", "sh"]):
        command = [shell, "-c", script, "sh", *programs, "-c", show, "x", "a b", "$HOME"]
        done = subprocess.run(command, input=b" p\\a s's \nfirst\nsecond", capture_output=True, check=True)
        assert done.stdout == b" p\\a s's |a b|$HOME|first\nsecond"


@pytest.mark.parametrize(
    ("login", "words"),
    [
        ({}, ["--user=root"]),
        ({"socket": "/s"}, ["--no-defaults", "--user=root", "--socket=/s", "--protocol=SOCKET"]),
        ({"host": "db", "port": 3307}, ["--no-defaults", "--user=root", "--host=db", "--protocol=TCP", "--port=3307"]),
    ],
)
def test_where_the_server_is(login: Dict[str, object], words: List[str]) -> None:
    """The pod's own socket is the one of its option file; elsewhere no option file of a user has a say."""
    transport = Scripted(b"8.4.0\n")
    server(transport, **login).version()
    assert list(transport.commands[0][6 : 6 + len(words)]) == words
    assert transport.commands[0][4:6] == ["mariadb", "mysql"]


def test_answers_are_read_as_the_client_writes_them() -> None:
    """Tabs, line ends and backslashes in names; the server's own databases are left out."""
    listed = b"a\\tb\nc\\\\d\ninformation_schema\nmysql\nsys\nperformance_schema\n#mysql50#lost+found\nmlpipeline\n"
    assert server(Scripted(listed)).databases() == ["a\tb", "c\\d", "mlpipeline"]
    assert server(Scripted(b"root\t%\tcaching_sha2_password\n")).accounts() == [Account("root", "%", "caching_sha2_password")]
    counts = server(Scripted(b"d\n", b"d\tt\\n1\tYES\nd\tu\tYES\n", b"3\n0\n")).row_counts(["d"])
    assert counts == {"d.t\n1": 3, "d.u": 0}


def test_versions_read_alike() -> None:
    """What packagers and proxies add is left out."""
    for text, plain in (
        (b"5.5.5-10.6.1-MariaDB-log", "10.6.1-MariaDB"),
        (b"8.4.3", "8.4.3"),
        (b"11.4.2-MariaDB-ubu2404", "11.4.2-MariaDB"),
    ):
        assert server(Scripted(text + b"\n")).version() == plain


@pytest.mark.parametrize("name", ["--result-file=x", "", "a b", "a'b", "a`b", "a\nb", "a/b", "x" * 65, ".."])
def test_names_that_are_not_plain_are_refused_before_anything_runs(name: str) -> None:
    """Nothing that could be taken for an option, or end a text."""
    transport = Scripted()
    with pytest.raises(EngineError, match="not a name of a database"):
        next(server(transport).dump([name], DumpCounts()))
    assert not transport.commands


def test_a_database_that_is_not_there_is_named_with_those_that_are() -> None:
    """Before a dump begins."""
    with pytest.raises(EngineError, match="no database metadb") as caught:
        next(server(Scripted(b"cachedb\nmlpipeline\n")).dump(["mlpipeline", "metadb"], DumpCounts()))
    assert caught.value.found == "cachedb, mlpipeline"


@pytest.mark.parametrize(("tables", "cause"), [(b"d\tt\tNO\n", "no transactions"), (b"d\tt\\n\\\\! x\tYES\n", "control character")])
def test_a_table_that_would_spoil_the_dump_is_refused(tables: bytes, cause: str) -> None:
    """One that is not in the snapshot, one whose name would be a line of its own."""
    with pytest.raises(EngineError, match=cause):
        next(server(Scripted(b"d\n", tables)).dump(["d"], DumpCounts()))


@pytest.mark.parametrize(
    ("errors", "cause", "next_step"),
    [
        ("WARNING: x\nERROR 1045 (28000): Access denied for user 'root'@'localhost' (using password: YES)", "Access denied", "password"),
        ('mysqldump: Got error: 2002: "Can\'t connect (111)" when trying to connect', "Can't connect", "server runs"),
        ("mysqldump: Error 2013: Lost connection to server during query when dumping table `t` at row: 5", "at row: 5", "server's log"),
        ("mysqldump: Couldn't execute 'SHOW x': Table definition has changed (1412)", "definition has changed", "no migration"),
        ("something new", "something new", "server's log"),
        ("", "exit status 2", "server's log"),
    ],
)
def test_what_the_client_says_is_the_cause_and_what_to_do_follows_from_it(errors: str, cause: str, next_step: str) -> None:
    """The server's words first; warnings are not errors."""
    with pytest.raises(EngineError) as caught:
        list(server(Scripted(b"d\n", b"", failed(errors, 2))).dump(["d"], DumpCounts()))
    assert cause in caught.value.cause and "arning" not in caught.value.cause
    assert caught.value.subject == "database server of pipelines"
    assert next_step in caught.value.next_step


def test_a_place_without_client_programs_says_so() -> None:
    """Exit status 127 is the shell's."""
    with pytest.raises(EngineError, match="client programs .* are missing in pod kubeflow/mysql-0") as caught:
        server(Scripted(failed("sh: 1: exec: mysql: not found", 127))).version()
    assert "install" in caught.value.next_step


def test_an_error_does_not_quote_data() -> None:
    """Syntax errors quote what is near, which may be anything that a site stores."""
    dump = HEAD + b"USE `d`;\nINSERT INTO `t` (`a`) VALUES (1);\n" + TAIL
    with pytest.raises(EngineError, match="syntax") as caught:
        server(Scripted(b"1048576\n", failed("ERROR 1064 (42000) at line 7: error in your SQL syntax near 's3cr3t' at line 1"))).load(
            [dump]
        )
    assert "s3cr3t" not in str(caught.value) and "at line 7" in str(caught.value)


def test_a_row_that_is_too_long_for_the_server_is_the_cause() -> None:
    """The server only closes the connection."""
    dump = HEAD + b"USE `d`;\nINSERT INTO `t` (`a`) VALUES ('%s');\n" % (b"x" * 5000) + TAIL
    transport = Scripted(b"4096\n", failed("ERROR 2006 (HY000) at line 5: Server has gone away"), b"4096\n")
    with pytest.raises(EngineError, match="row of the dump is longer") as caught:
        server(transport).load([dump])
    assert caught.value.found == "4096 bytes" and "max_allowed_packet" in caught.value.next_step
    other = Scripted(b"4096000\n", failed("ERROR 2006 (HY000) at line 5: Server has gone away"), b"4096000\n")
    with pytest.raises(EngineError, match="gone away"):
        server(other).load([dump])


def test_a_dump_without_its_end_is_an_error_however_the_program_ends() -> None:
    """Of what is dumped, and of what is played: there before the server hears of the end."""
    counts = DumpCounts()
    with pytest.raises(EngineError, match="before it was whole"):
        list(server(Scripted(b"d\n", b"", DUMP[:-60])).dump(["d"], counts))
    assert not counts.finished
    with pytest.raises(EngineError, match="not whole"):
        server(Scripted(b"1048576\n", b"")).load([DUMP[:-60]])
    whole = Scripted(b"1048576\n", b"")
    server(whole).load(in_pieces(DUMP, 50))
    assert read_back([whole.inputs[1].split(b"\n", 1)[1]]).finished
