# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of MySQL and MariaDB as text: dumped from one moment, played into a server, and what a server has.

The client programs are those of the place where they run: in the server's own pod they are there and of the same version.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Dict, Iterable, Iterator, List, Mapping, NoReturn, Optional, Sequence, Tuple

from .dump_text import DumpCounts, DumpReader, RowJoiner, plain_version, read_back
from .errors import EngineError
from .transports import ProgramFailed, Transport

__all__ = ["Account", "DumpCounts", "Login", "MySql", "read_back"]

SYSTEM_SCHEMAS = ("information_schema", "performance_schema", "mysql", "sys")
_DATABASE = re.compile(r"[0-9A-Za-z_$][0-9A-Za-z_$.-]{0,63}")

# The password is the first line of standard input: as an argument it would be in the list of processes and, for a pod, in the
# API server's audit log. "read" takes single bytes from a pipe, so the rest of the input is left for the program [POSIX, read].
# Newer images have the programs under their new names only, older ones under the old names, and MariaDB complains about the old.
_SCRIPT = (
    'IFS= read -r MYSQL_PWD; export MYSQL_PWD; new="$1"; old="$2"; shift 2; '
    'if command -v "$new" >/dev/null 2>&1; then exec "$new" "$@"; fi; exec "$old" "$@"'
)
_CLIENT = ("mariadb", "mysql")
_DUMPER = ("mariadb-dump", "mysqldump")
# A comment, for those who do not see where their input ends: kwok leaves it open for the programs that it runs.
_END = b"\n-- end of input\n"
_COMMON = ("--default-character-set=utf8mb4", "--max-allowed-packet=1G")
# Options after "loose" exist in one family only; the other one warns and goes on.
_DUMP_OPTIONS = (
    *_COMMON,
    "--single-transaction",
    "--quick",
    "--routines",
    "--triggers",
    "--events",
    "--hex-blob",
    "--no-tablespaces",
    "--skip-extended-insert",  # one row is one line, so that rows can be counted while they pass
    "--complete-insert",
    "--loose-set-gtid-purged=OFF",
    "--loose-column-statistics=0",  # of MySQL 8's program, which older servers and MariaDB do not understand
    "--databases",
)
_LOAD_OPTIONS = (
    *_COMMON,
    "--batch",
    "--binary-mode",  # no commands of the client ("\!", "source") wherever they come from
    "--comments",  # those in the bodies of routines are part of them
    "--skip-reconnect",  # a new connection would not have the settings of the old one
    "--local-infile=0",
)
_QUERY_OPTIONS = (*_COMMON, "--batch", "--skip-column-names", "--skip-reconnect", "--local-infile=0")

# Rows are put together while they are played, up to so many bytes in a statement, which is a transaction: that costs the server
# a tenth of one row a statement, and with --no-autocommit, one transaction for each table, it was a quarter [measured, MariaDB 10.11].
JOINED = 256 * 1024

_CODE = re.compile(r"ERROR (\d{4})\b|error: (\d{4})\b|Error (\d{4})\b|\((\d{4})\)")
_GO_ON = "see the server's log for why, then run again"
_RIGHTS = "give the account the rights that are named, or use another one"
_PACKET = "raise max_allowed_packet of that server above it (in the pod: an argument or a ConfigMap), then run again"
_NEXT: Mapping[int, str] = {
    1044: _RIGHTS,
    1045: "check the user and the password of this server",
    1049: "check the names of the databases",
    1114: "give the server's volume more space, then run again",
    1021: "give the server's volume more space, then run again",
    1040: "wait until fewer clients are connected, or raise max_connections",
    1053: _GO_ON,
    1130: "let the account connect from this address",
    1142: _RIGHTS,
    1153: _PACKET,
    1227: _RIGHTS,
    1273: "restore into a server of the same family and at least the same version",
    1317: "somebody or something stopped the statement: run again",
    1370: _RIGHTS,
    1412: "a table's definition was changed meanwhile: run again when no migration runs",
    1524: "the account's authentication plugin is not loaded by the server: change the account first",
    1927: _GO_ON,
    1698: "check the user and the password of this server",
    2002: "check that the server runs, and its address",
    2003: "check that the server runs, and its address",
    2005: "check the server's address",
    2006: _GO_ON,
    2013: _GO_ON,
    2059: "the client program here lacks the account's authentication plugin: use a client of the server's own family",
}


@dataclass(frozen=True)
class Login:
    """An account on a server. ``host`` "" is the server beside us: its socket, the usual one if ``socket`` is ""."""

    user: str
    password: str = field(repr=False)
    host: str = ""
    port: int = 0
    socket: str = ""


@dataclass(frozen=True)
class Account:
    """Who may log in from where, and how the server finds out that it is really them."""

    user: str
    host: str
    plugin: str


class MySql:
    """One server, reached by running its client programs.

    :param transport: where they run.
    :param subject: the server's full name for errors: "database server of pipelines".
    :raises EngineError: the login cannot be handed over.
    """

    def __init__(self, transport: Transport, login: Login, subject: str) -> None:
        self._transport = transport
        self._login = login
        self._subject = subject
        if any(character in login.password for character in "\n\r\0"):
            raise EngineError("the password has a line end or a NUL in it", subject=subject, next_step="set another password")

    # ---------------------------------------------------------------- what there is

    def version(self) -> str:
        """ "8.0.26", "10.11.19-MariaDB"."""
        return plain_version(self._query("SELECT VERSION();")[0][0])

    def databases(self) -> List[str]:
        """The names of all databases but the server's own, sorted."""
        names = [row[0] for row in self._query("SHOW DATABASES;")]
        # Folders that are not databases, such as lost+found, are shown by older servers with this prefix.
        return sorted(name for name in names if name.lower() not in SYSTEM_SCHEMAS and not name.startswith("#mysql50#"))

    def row_counts(self, databases: Sequence[str]) -> Dict[str, int]:
        """Rows per "database.table", counted one by one in one moment; views are left out."""
        tables = [(row[0], row[1]) for row in self._tables(self._known(databases))]
        if not tables:
            return {}
        counting = ["SELECT COUNT(*) FROM %s.%s;" % (_quoted(database), _quoted(table)) for database, table in tables]
        rows = self._query("\n".join(["START TRANSACTION WITH CONSISTENT SNAPSHOT;", *counting]))
        return {"%s.%s" % name: int(row[0]) for name, row in zip(tables, rows)}

    def size(self, databases: Sequence[str]) -> int:
        """Bytes that the databases take, as the server estimates them."""
        sql = "SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables WHERE table_schema IN (%s);"
        return int(float(self._query(sql % _texts(self._known(databases)))[0][0]))

    def accounts(self) -> List[Account]:
        """All accounts, sorted; needs the right to read the database mysql."""
        return [Account(*row) for row in self._query("SELECT user, host, plugin FROM mysql.user ORDER BY user, host;")]

    # ---------------------------------------------------------------- dump and load

    def dump(self, databases: Sequence[str], counts: DumpCounts) -> Iterator[bytes]:
        """The databases as SQL, all of it as it was at one moment; whole only if the iterator ends without an error.

        :param counts: filled in while the text passes.
        :raises EngineError: nothing to dump, a table that cannot be part of a snapshot, or the dump is not whole.
        """
        names = self._known(databases)
        self._check_tables(names)
        reader = DumpReader(counts)
        try:
            for chunk in self._run(_DUMPER, (*_DUMP_OPTIONS, *names), ()):
                reader.feed(chunk)
                yield chunk
        except ProgramFailed as problem:
            self._explain(problem, "cannot dump %s" % ", ".join(names))
        reader.close()
        if not counts.finished:
            raise self._cut("the dump ended before it was whole", counts, "nothing of it may be used; run again")

    def load(self, chunks: Iterable[bytes]) -> None:
        """Play a dump. All its tables are made anew, so playing it once more has the same outcome; the first error stops it.

        :raises EngineError: the server refused something, or the dump is not whole.
        """
        counts = DumpCounts()
        whole = self._whole(chunks, counts, self._packet())
        try:
            for _output in self._run(_CLIENT, _LOAD_OPTIONS, itertools.chain(whole, (_END,))):
                pass  # a dump has no statement that answers
        except ProgramFailed as problem:
            self._explain(problem, "cannot play the dump", counts)

    def drop(self, databases: Sequence[str]) -> None:
        """Delete these databases with all that is in them; one that is not there is fine. Tables that a newer release added go, too."""
        wanted = [name for name in databases if _DATABASE.fullmatch(name) and name.lower() not in SYSTEM_SCHEMAS]
        if wanted:
            self._query("\n".join("DROP DATABASE IF EXISTS %s;" % _quoted(name) for name in wanted))

    def _whole(self, chunks: Iterable[bytes], counts: DumpCounts, packet: int) -> Iterator[bytes]:
        """The same statements; an error instead of their end if that is too early, before the server takes it for the end."""
        reader = DumpReader(counts)
        joiner = RowJoiner(reader, min(JOINED, packet // 2))
        for chunk in chunks:
            yield joiner.feed(chunk)
        yield joiner.end()
        reader.close()
        if not counts.finished:
            raise self._cut("the dump that was to be played is not whole", counts, "play a whole one: it replaces what was played")

    def _cut(self, cause: str, counts: DumpCounts, next_step: str) -> EngineError:
        return EngineError(
            cause,
            subject=self._subject,
            expected="its last line, '-- Dump completed'",
            found="%d rows of %d tables, then nothing" % (sum(counts.rows.values()), len(counts.rows)),
            next_step=next_step,
        )

    # ---------------------------------------------------------------- checks

    def _known(self, databases: Sequence[str]) -> List[str]:
        """The names, if all of them are plain and there.

        :raises EngineError: one is not.
        """
        for name in databases:
            if not _DATABASE.fullmatch(name):
                raise EngineError(
                    "not a name of a database that can be handled: %r" % name,
                    subject=self._subject,
                    expected="letters, digits, '_', '$', '-' and '.', up to 64",
                    next_step="rename the database, or leave it out",
                )
        if not databases:
            raise EngineError("no database is named", subject=self._subject, expected="at least one")
        there = self.databases()
        missing = [name for name in databases if name not in there]
        if missing:
            raise EngineError(
                "there is no database %s" % ", ".join(missing),
                subject=self._subject,
                found=", ".join(there) or "no databases",
                next_step=_NEXT[1049],
            )
        return list(databases)

    def _tables(self, names: Sequence[str]) -> List[List[str]]:
        """Database, table, whether its engine has transactions."""
        return self._query(
            "SELECT t.table_schema, t.table_name, COALESCE(e.transactions, 'NO') FROM information_schema.tables t"
            " LEFT JOIN information_schema.engines e ON e.engine = t.engine"
            " WHERE t.table_type NOT IN ('VIEW', 'SYSTEM VIEW', 'SEQUENCE') AND t.table_schema IN (%s)"
            " ORDER BY t.table_schema, t.table_name;" % _texts(names)
        )

    def _check_tables(self, names: Sequence[str]) -> None:
        """:raises EngineError: a table would not be in the snapshot, or its name would be taken for SQL in a comment."""
        for database, table, transactions in self._tables(names):
            if any(ord(character) < 32 for character in table):
                raise EngineError(
                    "a table has a control character in its name",
                    subject=self._subject,
                    found="%s.%r" % (database, table),
                    next_step="rename it, or drop it if nobody knows it",
                )
            if transactions != "YES":
                raise EngineError(
                    "a table's storage engine has no transactions: it cannot be dumped as it was at one moment",
                    subject="%s, table %s.%s" % (self._subject, database, table),
                    expected="InnoDB",
                    next_step="ALTER TABLE ... ENGINE=InnoDB, or leave this database out",
                )

    # ---------------------------------------------------------------- programs

    def _run(self, programs: Tuple[str, str], options: Sequence[str], stdin: Iterable[bytes]) -> Iterator[bytes]:
        """Run one of two programs with our login."""
        login = self._login
        words = ["--user=" + login.user]
        if login.host:
            words += ["--host=" + login.host, "--protocol=TCP"] + (["--port=%d" % login.port] if login.port else [])
        elif login.socket:
            words += ["--socket=" + login.socket, "--protocol=SOCKET"]
        if login.host or login.socket:  # option files of whoever runs this are not meant; those of a server's pod name its socket
            words.insert(0, "--no-defaults")
        argv = ["sh", "-c", _SCRIPT, "sh", *programs, *words, *options]
        first = login.password.encode() + b"\n"
        return self._transport.run(argv, itertools.chain((first,), stdin), self._subject)

    def _query(self, sql: str) -> List[List[str]]:
        """The rows of all answers.

        :raises EngineError: the first statement that the server refused.
        """
        try:
            output = b"".join(self._run(_CLIENT, _QUERY_OPTIONS, (sql.encode(), _END)))
        except ProgramFailed as problem:
            self._explain(problem, "cannot ask the server")
        lines = output.decode(errors="replace").split("\n")[:-1]
        return [[_value(text) for text in line.split("\t")] for line in lines]

    def _explain(self, problem: ProgramFailed, doing: str, counts: Optional[DumpCounts] = None) -> NoReturn:
        """Say what a client program's failure means.

        :raises EngineError: always.
        """
        if problem.status == 127 or ": not found" in problem.errors:
            raise EngineError(
                "the client programs of MySQL or MariaDB are missing in %s" % self._transport.where,
                subject=self._subject,
                expected="%s or %s" % _DUMPER,
                found=problem.errors.strip()[-200:],
                next_step="install them there (on Debian: mariadb-client or default-mysql-client)",
            ) from problem
        code, words = _told(problem.errors)
        if counts is not None and counts.longest and code in (1153, 2006, 2013, 2020):
            self._check_packet(counts.longest, problem)
        raise EngineError(
            "%s: %s" % (doing, words or problem.cause),
            subject=self._subject,
            next_step=_NEXT.get(code, "see the server's log, then run again"),
        ) from problem

    def _packet(self) -> int:
        """Bytes that a statement may have."""
        return int(self._query("SELECT @@GLOBAL.max_allowed_packet;")[0][0])

    def _check_packet(self, longest: int, problem: ProgramFailed) -> None:
        """:raises EngineError: a row was too long for the server, which it says by closing the connection."""
        limit = self._packet()
        if longest > limit:
            raise EngineError(
                "a row of the dump is longer than the server takes",
                subject=self._subject,
                expected="max_allowed_packet above %d bytes" % longest,
                found="%d bytes" % limit,
                next_step=_PACKET,
            ) from problem


def _told(errors: str) -> Tuple[int, str]:
    """The code and the words of the first error in what a client wrote; without the data that a syntax error quotes."""
    for line in errors.splitlines():
        found = _CODE.search(line)
        if found and "warning" not in line.lower():
            code = int(next(group for group in found.groups() if group))
            return code, re.sub(r" near '.*| entry '.*", " ...", line.strip())[:300]
    lines = [line.strip() for line in errors.splitlines() if line.strip() and "warning" not in line.lower()]
    return 0, lines[0][:300] if lines else ""


def _quoted(name: str) -> str:
    return "`%s`" % name.replace("`", "``")


def _texts(names: Sequence[str]) -> str:
    """Names that were checked, as a list of texts."""
    return ", ".join("'%s'" % name for name in names)


_ESCAPES: Mapping[str, str] = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


def _value(text: str) -> str:
    """A field as the client writes it with ``--batch``, read back."""
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found.group(1), found.group(0)), text)
