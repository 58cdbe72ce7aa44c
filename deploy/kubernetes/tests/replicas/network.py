"""Network namespaces on one wire. The caller's own is the node: it has the bridge. No way leads out of it."""
import pathlib, subprocess


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=30, **options).stdout


class Network:
    """Names and addresses as the manifests have them; every address is found on the wire itself, so there is no router."""

    def __init__(self, folder, node):
        self.hosts = pathlib.Path(folder, "hosts")
        self.names = {}
        # Namespaces have names in this folder: ours are nobody else's.
        pathlib.Path("/run/netns").mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "namespaces", "/run/netns")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "wire", "type", "bridge")
        run("ip", "address", "add", f"{node}/32", "dev", "wire")
        run("ip", "link", "set", "wire", "up")
        run("ip", "route", "add", "default", "dev", "wire")
        self.write_hosts()
        run("mount", "--bind", self.hosts, "/etc/hosts")

    def add(self, place, address):
        """A namespace of this name and address."""
        number = len(run("ip", "netns", "list").splitlines())
        run("ip", "netns", "add", place)
        run("ip", "link", "add", f"wire{number}", "type", "veth", "peer", "name", "eth0", "netns", place)
        run("ip", "link", "set", f"wire{number}", "master", "wire", "up")
        inside = ("ip", "-n", place)
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "address", "add", f"{address}/32", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "dev", "eth0")

    def name(self, name, *addresses):
        """What a name leads to, for everybody."""
        self.names[name] = addresses
        self.write_hosts()

    def write_hosts(self):
        lines = [f"{address} {name}" for name, addresses in self.names.items() for address in addresses]
        # In place: the file is mounted.
        self.hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))


def within(place, *command):
    return ["ip", "netns", "exec", place, *map(str, command)]
