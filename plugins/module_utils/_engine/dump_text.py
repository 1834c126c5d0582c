# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what mysqldump and mariadb-dump write: how many rows of which table are in it, and whether it is whole.

With ``--skip-extended-insert`` every row is one INSERT, and all line ends in its values are written as ``\\n``: a row is a line
that begins with INSERT where a statement may begin. Where that is follows from reading all other statements as the client
does: with quotes, comments and DELIMITER, as the bodies of routines and triggers hold any text in any layout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Pattern

# The longest beginning of a row that is kept: it holds the table's name (64 characters).
HEAD = 4096
_INSERT = b"INSERT INTO `"
_NAME = rb"`((?:[^`]|``)*)`"
_ROW = re.compile(rb"INSERT INTO %s " % _NAME)
_VALUES = re.compile(rb"INSERT INTO %s \(%s(?:, %s)*\) VALUES (?=\()" % (_NAME, _NAME, _NAME))
_USE = re.compile(rb"USE %s" % _NAME)
_TABLE = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?%s \(" % _NAME)  # those in /*! */ stand in for views
_MODE = re.compile(rb"/\*!\d+ SET sql_mode *= *([^*]*)")
_SERVER = re.compile(rb"-- Server version\t(\S+)")
# A command to MariaDB's newer clients in the clothes of a comment: no statement, and without an end.
_SANDBOX = b"/*M!999999\\-"
_TRAILER = b"-- Dump completed"
_VERSION = re.compile(r"(?:5\.5\.5-)?(\d+\.\d+\.\d+)(-MariaDB)?")


@dataclass
class DumpCounts:
    """What is in a dump.

    :ivar rows: per "database.table", 0 for an empty table; views are not among them.
    :ivar finished: whether it has its last line, and nothing after it.
    :ivar server: the version that it came from, like :func:`plain_version`; "" if it does not say.
    :ivar longest: bytes of the longest row: what a server has to accept in one packet.
    """

    rows: Dict[str, int] = field(default_factory=dict)
    finished: bool = False
    server: str = ""
    longest: int = 0


def plain_version(text: str) -> str:
    """A server's version without what its packager added: "8.0.26", "10.11.19-MariaDB"."""
    found = _VERSION.match(text)
    return found.group(1) + (found.group(2) or "") if found else text


def read_back(chunks: Iterable[bytes]) -> DumpCounts:
    """What is in the text of a dump; look at ``finished`` first."""
    counts = DumpCounts()
    reader = DumpReader(counts)
    for chunk in chunks:
        reader.feed(chunk)
    reader.close()
    return counts


class DumpReader:
    """Counts while a dump passes by; holds one line, and of a row only its beginning.

    :param counts: kept up to date; complete after :meth:`close`.
    """

    def __init__(self, counts: DumpCounts) -> None:
        self._counts = counts
        self._database = ""
        self._table = ""  # the key of the rows that come now
        self._prefix = b"\n"  # how a row of that table begins; nothing begins like this
        self._row = False  # inside of a row that goes on in the next line
        self._head = b""  # the line that is not complete yet: all of it, or of a row its beginning
        self._last = b""  # and its last bytes
        self._length = 0
        self._statement = _Statement()

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        first, *others = chunk.split(b"\n")
        self._grow(first)
        if not others:
            return
        self._complete()
        rest = others.pop()
        for line in others:
            self.line(line, len(line))
        self._grow(rest)

    def close(self) -> None:
        """There is no more."""
        if self._length:
            self._complete()

    def _grow(self, piece: bytes) -> None:
        self._length += len(piece)
        if len(self._head) > HEAD and (self._row or self._head.startswith(_INSERT) and not self._statement.open):
            self._last = (self._last + piece)[-1:]
        else:
            self._head += piece
            self._last = self._head[-1:]

    def _complete(self) -> None:
        line, length = self._head + self._last if self._length > len(self._head) else self._head, self._length
        self._head, self._last, self._length = b"", b"", 0
        self.line(line, length)

    def line(self, line: bytes, length: int) -> bool:
        """One line, for those who have lines anyway; of a long row its beginning and its end are enough.

        :returns: whether it is a row, all of it.
        """
        if self._row:
            self._row = not line.endswith(b";")
        elif self._statement.open:
            self._read(line)
        elif line.startswith(_INSERT):
            return self._count(line, length)
        elif line == b"--" or line.startswith(b"-- "):
            self._comment(line)
        elif line and not line.isspace() and not line.startswith(_SANDBOX):
            self._read(line)
        return False

    def _count(self, line: bytes, length: int) -> bool:
        if not line.startswith(self._prefix):
            found = _ROW.match(line)
            if found is None:
                self._read(line)
                return False
            self._prefix = found.group(0)
            self._table = self._key(found.group(1))
        counts = self._counts
        counts.rows[self._table] = counts.rows.get(self._table, 0) + 1
        counts.longest = max(counts.longest, length)
        counts.finished = False
        self._row = not line.endswith(b";")
        return not self._row

    def _comment(self, line: bytes) -> None:
        if line.startswith(_TRAILER):
            self._counts.finished = True
            return
        found = _SERVER.match(line)
        if found and not self._counts.server:
            self._counts.server = plain_version(found.group(1).decode(errors="replace"))

    def _read(self, line: bytes) -> None:
        self._counts.finished = False
        for text in self._statement.ends(line):
            if found := _USE.match(text):
                self._database, self._prefix = _plain(found.group(1)), b"\n"
            elif found := _TABLE.match(text):
                self._counts.rows.setdefault(self._key(found.group(1)), 0)
            elif found := _MODE.match(text):
                self._statement.escapes = b"NO_BACKSLASH_ESCAPES" not in found.group(1)

    def _key(self, name: bytes) -> str:
        return "%s.%s" % (self._database, _plain(name))


class RowJoiner:
    """Makes one statement of rows that follow each other, which a server takes in a fraction of the time.

    :param reader: told every line; it knows what is a row.
    :param limit: bytes that a statement may grow to; longer rows stay as they are.
    """

    def __init__(self, reader: DumpReader, limit: int) -> None:
        self._reader = reader
        self._limit = limit
        self._rest: List[bytes] = []  # of the line that is not complete yet
        self._begin = b""  # how the rows of the open statement begin, up to their values
        self._rows: List[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> bytes:
        """The same statements, as far as they are complete."""
        first, *others = chunk.split(b"\n")
        self._rest.append(first)
        if not others:
            return b""
        done: List[bytes] = []
        self._line(b"".join(self._rest), done)
        self._rest = [others.pop()]
        for line in others:
            self._line(line, done)
        return b"".join(done)

    def end(self) -> bytes:
        """What is left at the end of the text."""
        done: List[bytes] = []
        rest = b"".join(self._rest)
        if rest:
            self._line(rest, done)
        self._flush(done)
        return b"".join(done)

    def _line(self, line: bytes, done: List[bytes]) -> None:
        if not self._reader.line(line, len(line)):
            self._flush(done)
            done.append(line + b"\n")
            return
        if not self._begin or not line.startswith(self._begin) or self._length + len(line) > self._limit:
            self._flush(done)
            found = _VALUES.match(line)
            if found is None:
                done.append(line + b"\n")
                return
            self._begin = found.group(0)
        self._rows.append(line[len(self._begin) : -1])  # without the semicolon
        self._length += len(line)

    def _flush(self, done: List[bytes]) -> None:
        if self._rows:
            done.append(self._begin + b",".join(self._rows) + b";\n")
        self._begin, self._rows, self._length = b"", [], 0


def _plain(name: bytes) -> str:
    return name.replace(b"``", b"`").decode(errors="replace")


class _Statement:
    """Where a statement ends.

    :ivar open: whether one has begun and not ended; :ivar escapes: whether a backslash in a text means the next character.
    """

    def __init__(self) -> None:
        self.open = False
        self.escapes = True
        self._text = b""  # its beginning
        self._inside = b""  # what ends the text or comment that we are in
        self._set_delimiter(b";")

    def _set_delimiter(self, delimiter: bytes) -> None:
        self._delimiter = delimiter
        # */ ends a /*! comment, whose content is SQL.
        self._code: Pattern[bytes] = re.compile(rb"%s|['\"`#]|--(?=\s|$)|/\*(?!M?!)" % re.escape(delimiter))

    def ends(self, line: bytes) -> Iterable[bytes]:
        """The beginnings of the statements that end in this line."""
        if not self.open and line[:10].upper() == b"DELIMITER ":
            self._set_delimiter(line[10:].strip())
            return
        self.open = True
        start = at = 0
        while at <= len(line):
            if self._inside:
                at = self._leave(line, at)
                continue
            found = self._code.search(line, at)
            if found is None:
                break
            token, at = found.group(0), found.end()
            if token == self._delimiter:
                yield (self._text + line[start : found.start()])[:HEAD].lstrip()
                self._text, start = b"", at
                if not line[at:].strip():
                    self.open = False
                    return
            elif token in (b"#", b"--"):
                break
            else:
                self._inside = b"*/" if token == b"/*" else token
        if len(self._text) < HEAD:
            self._text += line[start:] + b"\n"

    def _leave(self, line: bytes, at: int) -> int:
        """Where in the line the text or comment ends; beyond the line if it does not."""
        escapes = self.escapes and self._inside in (b"'", b'"')
        while True:
            end = line.find(self._inside, at)
            escape = line.find(b"\\", at, end if end >= 0 else len(line)) if escapes else -1
            if escape >= 0:
                at = escape + 2
                continue
            if end < 0:
                return len(line) + 1
            end += len(self._inside)
            self._inside = b""
            return end
