"""Where a page is tried: a shell, a folder or the clone itself, ports of its own, and somebody at the browser."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "gateway/tests/clients"))

from browser import Browser  # noqa: E402: it lies with the clients

COMMAND_WITHIN_S = 180
START_WITHIN_S = 180
STOP_WITHIN_S = 60
SIGN_IN_AT = re.compile(r"(http://localhost:\d+/authorize\?\S+)")
INSPECTOR = "@modelcontextprotocol/inspector"

# An installation as the how-tos have it, at the ports of the test.
INSTALLATION = """\
public_url = "http://localhost:{port}"

[listen]
address = "127.0.0.1:{port}"

[admin]
address = "127.0.0.1:{admin}"

[entra]
authority = "http://127.0.0.1:{nobody}"
tenant_id = "11111111-1111-4111-8111-111111111111"
client_id = "22222222-2222-4222-8222-222222222222"
scope = "api://33333333-3333-4333-8333-333333333333/access_as_user"

[entra.credential]
kind = "workload-identity"
token_file = "federated-token"

[store]
url = "memory:"

[keys]
file = "keys.json"

[[upstream]]
name = "graph"
path = "/mcp"
servers = ["http://127.0.0.1:{nobody}"]

"""


class Place:
    def __init__(self, page, folder):
        self.port, self.admin, nobody = free_ports(3)
        self.folder = ROOT if page == "tutorial" else folder / "work"
        self.background = []
        programs = folder / "programs"
        for made in (programs, folder / "home", folder / "work"):
            made.mkdir()
        (programs / "sallyport").symlink_to(os.environ["SALLYPORT_BIN"])
        stand_in_for_npx(programs / "npx")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SALLYPORT_")},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            # For `make dev`.
            "SALLYPORT_BIN": os.environ["SALLYPORT_BIN"],
            "ARGS": f"--port {self.port} --admin-port {self.admin}",
            # The client keeps its things here, has no keychain, and is told that a browser was opened.
            "MCP_STORAGE_DIR": str(folder / "home"),
            "MCP_INSPECTOR_SECRET_STORE": "file",
            "BROWSER": "true",
            "NO_COLOR": "1",
        }
        self.shell = self._process(["bash"], stdin=subprocess.PIPE)
        self.output = Output(self.shell)
        if self.folder != ROOT:
            self.write("sallyport.toml", INSTALLATION.format(port=self.port, admin=self.admin, nobody=nobody))
            self.write("federated-token", "a.b.c\n")
            self.run("sallyport keys new --file keys.json")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process, _ in [*self.background, (self.shell, None)]:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()

    def here(self, line):
        """The line with the ports of this place."""
        for there, here in {
            "https://mcp.example.com": f"http://localhost:{self.port}",
            "localhost:8080": f"localhost:{self.port}",
            "127.0.0.1:9464": f"127.0.0.1:{self.admin}",
        }.items():
            # The page's own host is no address to listen at.
            line = line.replace(there, here) if not line.startswith("public_url") else line
        return line

    def write(self, name, text, adds=False):
        with open(self.folder / name, "a" if adds else "w") as file:
            file.write(text)

    def run(self, command, user=None):
        """What the command says, and its exit code. It must ask `user`, if there is one, to sign in."""
        end = f"end-of-{time.monotonic_ns()}"
        self.shell.stdin.write(f"{{\n{command}\n}} </dev/null\nprintf '\\n%s %s\\n' {end} $?\n".encode())
        self.shell.stdin.flush()
        if user:
            Browser().sign_in(self.output.seen(SIGN_IN_AT, COMMAND_WITHIN_S, command).group(1), user)
        said, met = self.output.until(re.compile(rf"\n{end} (\d+)\n"), COMMAND_WITHIN_S, command)
        return said, int(met.group(1))

    def start(self, command, text):
        """Starts a command that goes on, and gives what it says up to and with the line that has `text`."""
        process = self._process(["bash", "-c", command], stdin=subprocess.DEVNULL)
        output = Output(process)
        self.background.append((process, output))
        said, met = output.until(re.compile(re.escape(text) + r".*\n"), START_WITHIN_S, command)
        self._wait_until_it_lives()
        return said + met.group()

    def serve(self, name):
        process = self._process(["sallyport", "serve", "--config", name], stdin=subprocess.DEVNULL)
        self.background.append((process, Output(process)))
        self._wait_until_it_lives()

    def stop(self):
        """Ctrl-C in every terminal."""
        for process, _ in self.background:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"{process.args} does not end at Ctrl-C") from None

    def _process(self, arguments, stdin):
        options = {"cwd": self.folder, "env": self.environment, "start_new_session": True}
        return subprocess.Popen(arguments, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)

    def _wait_until_it_lives(self):
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/healthz", timeout=2).status == 200:
                    socket.create_connection(("127.0.0.1", self.port), 2).close()
                    return
            except OSError:
                time.sleep(0.05)
        said = self.background[-1][1].text
        raise TimeoutError(f"nothing answers at port {self.port}: {said}")


class Output:
    """What a process says, read as it comes."""

    def __init__(self, process):
        self.text = ""
        self._changed = threading.Condition()
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def until(self, wanted, within, what):
        """What was said before, and what fits; both are taken out."""
        met = self.seen(wanted, within, what)
        with self._changed:
            said, self.text = self.text[: met.start()], self.text[met.end() :]
        return said, met

    def seen(self, wanted, within, what):
        with self._changed:
            found = self._changed.wait_for(lambda: wanted.search(self.text), within)
            if not found:
                raise TimeoutError(f"{what}: not done after {within} s; it said:\n{self.text}")
            return found

    def _read(self, pipe):
        while piece := os.read(pipe.fileno(), 65536):
            with self._changed:
                self.text += piece.decode(errors="replace")
                self._changed.notify_all()


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def stand_in_for_npx(path):
    """What npx does once it has fetched the package: the version is the one that is pinned for all tests."""
    program = ROOT / f"gateway/tests/clients/node_modules/{INSPECTOR}/clients/launcher/build/index.js"
    node = os.environ["NODE"]
    path.write_text(f'#!/bin/sh\n[ "$1" = {INSPECTOR} ] || exit 127\nshift\nexec "{node}" "{program}" "$@"\n')
    path.chmod(0o755)
