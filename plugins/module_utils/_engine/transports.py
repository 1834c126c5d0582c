# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a program where the data is: on this machine, or in a container of a pod; its input and output are streams.

Nothing is collected but the last words of standard error: whoever reads slowly makes the program wait. What comes out is
whole only if the iterator ended without an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import time
from typing import Any, Dict, Iterable, Iterator, List, Optional, Protocol, Sequence, Set, Tuple

from .api import Api, Resource
from .errors import EngineError
from .objects import KubeObject, get_path
from .podsockets import PIECE, V4, V5, PodSocket

STDIN, STDOUT, STDERR, STATUS = 0, 1, 2, 3
TAIL = 4096
# Nothing at all in either direction for so long: a program that hangs, or a connection that is dead.
IDLE_SECONDS = 600.0
# Load balancers cut connections on which nothing happens for a minute or more.
PING_SECONDS = 20.0
# After the program's status: how long its connection may take to end, after standard output: how long the program may.
END_SECONDS = 10.0
PODS = Resource("v1", "Pod", "pods", True)
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments", True)


class Transport(Protocol):
    """Where programs can be run. ``where`` is what a person calls the place: "this machine", "pod a/b container c"."""

    where: str

    def run(self, argv: Sequence[str], stdin: Iterable[bytes] = (), subject: str = "") -> Iterator[bytes]:
        """Start a program, feed it, return what it writes to standard output.

        It starts with the first ``next`` and is ended where the iterator is closed or ``stdin`` raises.

        :raises ProgramFailed: at the end, if its exit status is not 0; :raises EngineError: it cannot be started,
            the connection ended early, or nothing happened for too long.
        """


class ProgramFailed(EngineError):
    """A program ended badly.

    :ivar status: its exit status, None if that is not known; :ivar errors: the end of what it wrote to standard error.
    """

    def __init__(self, cause: str, *, status: Optional[int], errors: str, subject: str, where: str) -> None:
        said = "\n    ".join(errors.strip().splitlines()[-5:])
        super().__init__(cause, subject=subject or where, expected="exit status 0 in %s" % where, found=said[-1000:])
        self.status = status
        self.errors = errors


class _Quiet:
    """How long nothing has happened."""

    def __init__(self, limit: float, program: str, where: str, subject: str) -> None:
        self._limit = limit
        self._names = (program, where, subject)
        self.since = time.monotonic()

    def over(self) -> None:
        """Something happened."""
        self.since = time.monotonic()

    def check(self) -> None:
        """:raises EngineError: it has been too long."""
        if time.monotonic() - self.since > self._limit:
            program, where, subject = self._names
            raise EngineError(
                "nothing came from %s, and it took nothing, for %.0f s" % (program, self._limit),
                subject=subject or where,
                next_step="see what it waits for (a lock, a full disk, an overloaded node), then run again",
            )


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that are sent at once; none is empty."""
    for chunk in chunks:
        for start in range(0, len(chunk), PIECE):
            yield chunk[start : start + PIECE]


def _tail(text: bytes, more: bytes) -> bytes:
    return (text + more)[-TAIL:]


# ---------------------------------------------------------------- this machine


class LocalCommand:
    """Programs of this machine, for servers outside of the cluster.

    :param idle_timeout: seconds for which nothing may happen.
    """

    where = "this machine"

    def __init__(self, idle_timeout: float = IDLE_SECONDS) -> None:
        self._idle_timeout = idle_timeout

    def run(self, argv: Sequence[str], stdin: Iterable[bytes] = (), subject: str = "") -> Iterator[bytes]:
        """See :class:`Transport`."""
        quiet = _Quiet(self._idle_timeout, argv[0], self.where, subject)
        source = _pieces(stdin)
        with contextlib.closing(_Child(argv, subject)) as child:
            while child.reading:
                if child.hungry:
                    piece = next(source, None)
                    quiet.over()
                    child.feed(piece)
                output = child.turn(min(1.0, self._idle_timeout))
                if output:
                    yield output
                if child.happened:
                    quiet.over()
                quiet.check()
            status = child.wait(END_SECONDS)
            errors = child.errors.decode(errors="replace")
        if status:
            raise ProgramFailed(_how(argv[0], status), status=status, errors=errors, subject=subject, where=self.where)


def _how(program: str, status: int) -> str:
    if status < 0:
        return "%s was ended by signal %d (%s)" % (program, -status, signal.strsignal(-status))
    return "%s ended with exit status %d" % (program, status)


class _Child:
    """One running program and our ends of its pipes, of which none ever makes us wait.

    asyncio starts it and waits for its end rather than ``subprocess``, which code that can run in a module may not use
    [ansible-test sanity, pylint: ansible-bad-function]. Its streams are not asyncio's: what ``stdin`` iterates over may
    be another program's output, and event loops cannot be nested.

    :ivar happened: whether the last turn moved any byte; :ivar errors: the end of standard error.
    """

    def __init__(self, argv: Sequence[str], subject: str) -> None:
        self.happened = False
        self.errors = b""
        self._fed: Optional[bytes] = b""  # what has to be written; None after the end of the input
        self._open: Set[int] = set()
        self._loop = asyncio.new_event_loop()
        inner: List[int] = []
        try:
            its_in, self._in = os.pipe()
            self._out, its_out = os.pipe()
            self._err, its_err = os.pipe()
            inner = [its_in, its_out, its_err]
            self._open = {self._in, self._out, self._err}
            starting = asyncio.create_subprocess_exec(*argv, stdin=its_in, stdout=its_out, stderr=its_err)
            self._process = self._loop.run_until_complete(starting)
        except OSError as problem:
            self._close_all()
            raise EngineError(
                "cannot start %s: %s" % (argv[0], problem.strerror), subject=subject or "this machine", next_step="install it"
            ) from problem
        finally:
            for descriptor in inner:
                os.close(descriptor)
        for descriptor in self._open:
            os.set_blocking(descriptor, False)

    @property
    def reading(self) -> bool:
        """Whether it can still write something."""
        return self._out in self._open or self._err in self._open

    @property
    def hungry(self) -> bool:
        """Whether it wants input."""
        return self._in in self._open and not self._fed

    def feed(self, piece: Optional[bytes]) -> None:
        """What it gets next; None ends its input."""
        self._fed = piece
        if piece is None:
            self._shut(self._in)

    def turn(self, seconds: float) -> bytes:
        """Wait until bytes can be moved and move them; some standard output."""
        waiting = select.poll()
        for descriptor in self._open:
            waiting.register(descriptor, select.POLLOUT if descriptor == self._in else select.POLLIN)
        self.happened = False
        output = b""
        for descriptor, _events in waiting.poll(seconds * 1000):
            self.happened = True
            if descriptor == self._in:
                self._write()
            elif descriptor == self._err:
                self.errors = _tail(self.errors, self._read(self._err))
            else:
                output = self._read(self._out)
        return output

    def _write(self) -> None:
        try:
            self._fed = (self._fed or b"")[os.write(self._in, self._fed or b"") :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it reads no more: its exit status says whether that is right
            self._shut(self._in)

    def _read(self, descriptor: int) -> bytes:
        data = os.read(descriptor, 2 * PIECE)
        if not data:
            self._shut(descriptor)
        return data

    def _shut(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def wait(self, seconds: float) -> int:
        """Its exit status, negative for a signal; one that closed its output but does not end is killed."""
        with contextlib.suppress(asyncio.TimeoutError):
            self._loop.run_until_complete(asyncio.wait_for(self._process.wait(), seconds))
        self._kill()
        return int(self._process.returncode or 0)

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._loop.run_until_complete(self._process.wait())

    def close(self) -> None:
        """It runs no longer. First it is killed: one that sees its input end would take that for the end of the data."""
        self._kill()
        self._close_all()

    def _close_all(self) -> None:
        for descriptor in list(self._open):
            self._shut(descriptor)
        self._loop.close()


# ---------------------------------------------------------------- a container of a pod


class PodExec:
    """Programs in a container of a pod, through the API server, as ``kubectl exec`` runs them.

    Arguments are part of the URL, which the API server's audit log keeps: no secret may be among them.

    :param client: an ``ApiClient`` of the ``kubernetes`` library, see ``kubeconfig.new_client``.
    :param container: "" for the only one.
    :param idle_timeout: seconds for which nothing may happen.
    """

    def __init__(self, client: Any, namespace: str, pod: str, container: str = "", idle_timeout: float = IDLE_SECONDS) -> None:
        self._client = client
        self._path = PODS.path(namespace, pod) + "/exec"
        self._container = container
        self._idle_timeout = idle_timeout
        self.where = "pod %s/%s" % (namespace, pod) + (" container %s" % container if container else "")

    def run(self, argv: Sequence[str], stdin: Iterable[bytes] = (), subject: str = "") -> Iterator[bytes]:
        """See :class:`Transport`."""
        quiet = _Quiet(self._idle_timeout, argv[0], self.where, subject)
        answer = _Answer()
        with contextlib.closing(self._connect(argv, subject)) as line:
            source, feeding = _pieces(stdin), True
            while not answer.complete(line):
                if feeding and line.idle and not answer.given:
                    piece = next(source, None)
                    quiet.over()
                    feeding = piece is not None
                    if piece is not None:
                        line.send(STDIN, piece)
                    else:
                        line.end_channel(STDIN)
                moved = line.moved
                for channel, data in line.turn(min(1.0, self._idle_timeout, PING_SECONDS)):
                    if channel == STDOUT and data:
                        yield data
                    answer.take(channel, data)
                if line.moved != moved:
                    quiet.over()
                elif line.idle and time.monotonic() - max(quiet.since, answer.pinged) > PING_SECONDS:
                    answer.pinged = time.monotonic()
                    line.ping()
                quiet.check()
            reason = line.reason
        answer.judge(argv[0], self.where, subject, reason)

    def _connect(self, argv: Sequence[str], subject: str) -> PodSocket:
        """The open connection; the program runs from now on.

        :raises EngineError: the API server cannot tell a program that its input ended.
        """
        query = [("command", word) for word in argv] + [(name, "true") for name in ("stdin", "stdout", "stderr")]
        if self._container:
            query.append(("container", self._container))
        line = PodSocket(self._client, self._path, query, (V5, V4), subject=subject or self.where, verb="create pods/exec")
        if line.protocol != V5:
            line.close()
            raise EngineError(
                "the API server cannot end a program's standard input",
                subject=subject or self.where,
                expected="the protocol %s (Kubernetes 1.30 and newer)" % V5,
                found=line.protocol or "none",
                next_step="use a newer Kubernetes, or reach its API server without the proxy in between",
            )
        return line


class _Answer:
    """What came back beside standard output: standard error and, once, how the program ended."""

    def __init__(self) -> None:
        self._errors = b""
        self._status = b""
        self._since = 0.0
        self.pinged = 0.0

    @property
    def given(self) -> bool:
        """Whether the program has ended."""
        return bool(self._status)

    def take(self, channel: int, data: bytes) -> None:
        """Keep what is not standard output."""
        if channel == STDERR:
            self._errors = _tail(self._errors, data)
        elif channel == STATUS and data:
            self._status += data
            self._since = time.monotonic()

    def complete(self, line: PodSocket) -> bool:
        """Whether nothing more is to come: the server closes the connection after the status, if it does not forget to."""
        return line.ended or self.given and time.monotonic() - self._since > END_SECONDS

    def judge(self, program: str, where: str, subject: str, reason: str) -> None:
        """:raises EngineError: it did not end well, or nobody knows how it ended."""
        errors = self._errors.decode(errors="replace")
        if not self._status:
            raise EngineError(
                "the connection to %s ended before the program did" % where,
                subject=subject or where,
                expected="the exit status of %s" % program,
                found="\n    ".join(part for part in (reason, errors.strip()[-500:]) if part),
                next_step="see whether the pod still runs and why it or the API server restarted, then run again",
            )
        status, message = _ended(self._status)
        if status != 0:
            cause = _how(program, status) if status is not None else "%s failed: %s" % (program, message)
            raise ProgramFailed(cause, status=status, errors=errors, subject=subject, where=where)


def _ended(answer: bytes) -> Tuple[Optional[int], str]:
    """The exit status (None: the program did not run to its end) and the kubelet's words, from a Status object."""
    try:
        status: Dict[str, Any] = json.loads(answer)
        if status.get("status") == "Success":
            return 0, ""
        for cause in (status.get("details") or {}).get("causes") or []:
            if cause.get("reason") == "ExitCode":
                return int(cause["message"]), str(status.get("message") or "")
        return None, str(status.get("message") or status)[:500]
    except (ValueError, AttributeError, TypeError):
        return None, answer.decode(errors="replace")[:500]


# ---------------------------------------------------------------- which pod


def find_pod(api: Api, namespace: str, *, selector: str = "", deployment: str = "") -> str:
    """The name of a ready pod: one that a label selector finds, or one of a Deployment's.

    :raises EngineError: there is none; says what there is instead.
    """
    subject = "pods of Deployment.apps %s/%s" % (namespace, deployment) if deployment else "pods %s in namespace %s" % (selector, namespace)
    wanted = ""
    if deployment:
        owner = api.get(DEPLOYMENTS, namespace, deployment)
        if owner is None:
            raise EngineError(
                "there is no such Deployment",
                subject="Deployment.apps %s/%s" % (namespace, deployment),
                next_step="check that the component is installed in this cluster, or name the external server",
            )
        selector = _selector(owner)
        wanted = "%s replicas" % get_path(owner, "spec.replicas")
    pods, _version = api.list(PODS, namespace=namespace, selector=selector)
    ready = sorted(pod["metadata"]["name"] for pod in pods if _state(pod) == "Ready")
    if not ready:
        states = ", ".join("%s is %s" % (pod["metadata"]["name"], _state(pod)) for pod in pods[:5])
        raise EngineError(
            "no pod is ready",
            subject=subject,
            expected="one that is Ready",
            found=states or "no pods" + (" (%s)" % wanted if wanted else ""),
            next_step="bring the component to health first: its data can only be read while it runs",
        )
    return str(ready[0])


def _selector(owner: KubeObject) -> str:
    """``spec.selector`` as a query wants it."""
    spec = owner["spec"]["selector"]
    terms = ["%s=%s" % item for item in sorted((spec.get("matchLabels") or {}).items())]
    for item in spec.get("matchExpressions") or []:
        values = ",".join(item.get("values") or [])
        form = {"In": "%s in (%s)", "NotIn": "%s notin (%s)"}.get(item["operator"])
        plain = ("!" if item["operator"] == "DoesNotExist" else "") + item["key"]
        terms.append(form % (item["key"], values) if form else plain)
    return ",".join(terms)


def _state(pod: KubeObject) -> str:
    """ "Ready", or in a few words why not."""
    if "deletionTimestamp" in pod["metadata"]:
        return "ending"
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        reason = get_path(container, "state.waiting.reason")
        if reason:
            return str(reason)
    for condition in status.get("conditions") or []:
        if condition["type"] == "Ready":
            return "Ready" if condition["status"] == "True" else str(condition.get("reason") or "not ready")
    return str(status.get("phase") or "not started")
