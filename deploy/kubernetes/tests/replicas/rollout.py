"""Three replicas of the production overlay on one machine, under real clients, while they are restarted one after another.

What runs is what the manifests say: images' file systems, command lines, environment, mounts, user, probes, preStop, grace, how a
rollout goes on, which connections a policy lets through. Around it stand Entra, Redis and a proxy at the very names and addresses
that the configuration has. Names come from /etc/hosts. Usage: rollout.py PROGRAMS STAND-IN, in namespaces of its own.
"""
import json, os, pathlib, subprocess, sys, tempfile, threading, time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import check, policies
from network import Network, run, within
from outside import GRAPH, INGRESS, LOGIN, PUBLIC, REDIS, Ingress, Programs, certificates, directory, eventually, redis_at, start_entra, start_redis
from pod import TOKENS, Pod, image
from wall import Walls, reaches

OVERLAY = "production"
REPLICAS = 3
NODE = "10.244.0.1"
CLIENTS = check.ROOT / "gateway/tests/clients"
JOURNEYS = ["typescript-1-http", "typescript-2-http-auto", "python-1-http", "python-2-http"]
READY_WITHIN_S, JOURNEY_WITHIN_S = 60, 180


class Cluster:
    def __init__(self, stage, programs, stand_in):
        self.stage = stage
        self.resources = list(check.yaml.safe_load_all(check.render(check.KUBERNETES / "overlays" / OVERLAY) or check.golden(OVERLAY).read_text()))
        self.gateway, self.server = (policies.named(self.resources, "Deployment", name) for name in ("sallyport", "sallyport-mcp-server"))
        self.settings = policies.configuration(self.resources, self.gateway)
        self.beside, self.network = Programs(stage), Network(stage, NODE)
        self.ingress = Ingress(self.beside, self.network, self.resources)
        self.environment = {v["name"]: v["value"] for v in policies.containers(self.gateway)[0]["env"]}
        certificates(stage, LOGIN, GRAPH, redis_at(self.environment)[0], self.ingress.host)
        start_redis(self.beside, self.network, self.environment)
        seed = directory(self._registered(self.gateway), self._registered(self.server), self.settings["public_url"])
        accounts = [self._account(self.gateway), self._account(self.server)]
        self.tokens = start_entra(self.beside, self.network, stand_in, seed, accounts)
        self.network.add("client", PUBLIC["client"])
        run(programs / "sallyport", "keys", "new", "--file", stage / "keys.json")
        self.secrets = {"sallyport-keys": {"keys.json": (stage / "keys.json").read_text()}, "sallyport-hop": {"secret": os.urandom(32).hex()}}
        self.images = {name: image(stage, programs / name) for name in ("sallyport", "sallyport-mcp-server")}
        self.walls = Walls(self.resources, NODE, {"gateway-system": [INGRESS]})
        self.started, self.servers, self.pods, self.wrong = 0, [], [], []

    def _account(self, workload):
        return f"{workload['metadata']['namespace']}:{policies.pod(workload)['serviceAccountName']}"

    def _registered(self, workload):
        return policies.configuration(self.resources, workload), self._account(workload)

    def start(self, workload):
        self.started += 1
        name = workload["metadata"]["name"]
        # What Azure's webhook adds to pods with its label.
        assert policies.labels(workload)["azure.workload.identity/use"] == "true"
        identity = {"files": {"azure-identity-token": self.tokens[self._account(workload)]},
                    "environment": {"AZURE_FEDERATED_TOKEN_FILE": f"{TOKENS}/azure-identity-token"}}
        pod, address = f"{name}-{self.started}", f"10.244.1.{self.started}"
        self.network.add(pod, address)
        self.walls.add(pod, address, workload)
        return Pod(self.network, self.stage, self.resources, workload, pod, address, self.images[name], self.secrets, identity)

    def bring_up(self):
        self.servers += [self.start(self.server) for _ in range(self.server["spec"]["replicas"])]
        service = policies.named(self.resources, "Service", "sallyport-mcp-server")
        assert service["spec"]["clusterIP"] == "None"
        self.network.name(service["metadata"]["name"], *[pod.address for pod in self.servers])
        self.pods += [self.start(self.gateway) for _ in range(REPLICAS)]
        for pod in self.servers + self.pods:
            self.until_ready(pod)
        self.ingress.follow(self.pods)

    def until_ready(self, pod):
        try:
            eventually(f"{pod.name} is ready", READY_WITHIN_S, lambda: pod.ready or pod.process.poll() is not None)
            assert pod.ready, f"{pod.name} ended with {pod.process.poll()}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{pod.said()[-3000:]}") from None

    def who_reaches_what(self):
        """Each way by its ends: what is found of it, beside what should be."""
        gateway, server = self.pods[0], self.servers[0]
        redis = (REDIS, int(redis_at(self.environment)[1]))
        edge, admin, mcp = (gateway.address, gateway.port("http")), (gateway.address, gateway.port("admin")), (server.address, server.port("http"))
        ways = {("ingress", *edge): True, ("client", *edge): False, ("client", *admin): False, ("ingress", *admin): False,
                ("client", *mcp): False, ("ingress", *mcp): False, (gateway.name, *mcp): True, (server.name, *edge): False,
                (gateway.name, *redis): True, (server.name, *redis): False, (gateway.name, PUBLIC["entra"], 443): True,
                (server.name, PUBLIC["entra"], 443): True, (gateway.name, INGRESS, 443): False}
        return {way: reaches(*way) for way in ways}, ways

    def roll(self):
        """As a Deployment does: a new one, and when that has been ready for `minReadySeconds`, an old one less."""
        spec, leaving = self.gateway["spec"], []
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        old = list(self.pods)
        for pod in old:
            new = self.start(self.gateway)
            self.pods.append(new)
            self.until_ready(new)
            time.sleep(spec["minReadySeconds"])
            thread = threading.Thread(target=self._retire, args=(pod,))
            thread.start()
            leaving.append(thread)
        for thread in leaving:
            thread.join()
        return old

    def _retire(self, pod):
        complaint = pod.leave()
        self.pods.remove(pod)
        if complaint:
            self.wrong.append(f"{complaint}\n{pod.said()[-3000:]}")

    def at_client(self, *command):
        """Environment and command of a program at the client's."""
        trust = {"NODE_EXTRA_CA_CERTS": str(self.stage / "ca.crt"), "SSL_CERT_FILE": str(self.stage / "roots.crt")}
        return {**os.environ, **trust, "SALLYPORT_ORIGIN": self.settings["public_url"], "SALLYPORT_BIN": str(self.images["sallyport"]),
                "ARTIFACTS": str(self.stage / "clients")}, within("client", *command)

    def journeys(self, names):
        """Whole lives of clients: refused, registered, signed in by a person, called, refreshed, signed in anew."""
        environment, command = self.at_client(CLIENTS / "run", *names)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=JOURNEY_WITHIN_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def steady(self):
        return [Steady(self, name) for name in JOURNEYS]


class Steady:
    """A client that signs in, and then connects and calls again and again until it is told to stop."""

    def __init__(self, cluster, name):
        self.name, self.folder = name, cluster.stage / f"steady-{name}"
        self.folder.mkdir()
        environment, command = cluster.at_client(CLIENTS / "run", "--steady", name, self.folder)
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def runs(self):
        text = (self.folder / "log").read_text()
        return text.count("ok: the text block is the same answer as JSON")

    def stop(self):
        """Gives how many calls were answered; raises when one was not."""
        (self.folder / "stop").touch()
        code = self.process.wait(30)
        assert code == 0, f"{self.name} ended with {code}\n{(self.folder / 'log').read_text()[-2000:]}"
        return self.runs()


class Checks:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def holds(self, what, question):
        """Counts it; true when it holds."""
        try:
            said = question()
            print(f"ok {what}" + (f" ({said})" if isinstance(said, str) else ""), flush=True)
            self.passed += 1
            return True
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            print(f"FAILED {what}\n    " + str(error).replace("\n", "\n    "), flush=True)
            self.failed += 1
            return False


def rehearse(cluster, checks):
    begun = time.monotonic()
    if not checks.holds("three replicas and two servers become ready, by the manifests' own commands", cluster.bring_up):
        return
    nobody = {"Uid": "65532", "Gid": "65532", "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}
    checks.holds("they are nobody in particular, and have no right", lambda: equal([pod.rights() for pod in cluster.pods], [nobody] * REPLICAS))
    checks.holds("the policies let through what is meant, and nothing else", lambda: equal(*cluster.who_reaches_what()))
    if not checks.holds("clients live a whole life", lambda: cluster.journeys(JOURNEYS) and None):
        print(cluster.pods[0].said()[-3000:], cluster.beside.log("ingress")[-2000:])
        return
    clients = cluster.steady()
    checks.holds("clients are at work", lambda: eventually("each has called", 120, lambda: all(client.runs() > 2 for client in clients)) and None)
    over, lives, broken = threading.Event(), [], []

    def newcomers():
        while not over.is_set():
            try:
                lives.append(cluster.journeys(JOURNEYS[len(lives) % len(JOURNEYS):][:1]))
            except (AssertionError, subprocess.SubprocessError) as error:
                broken.append(str(error))

    coming = threading.Thread(target=newcomers)
    coming.start()
    old = []
    checks.holds("the replicas are restarted one after another", lambda: old.extend(cluster.roll()))
    over.set()
    coming.join()
    checks.holds("each ended by itself, with 0, within its grace", lambda: equal(cluster.wrong, []))
    for client in clients:
        checks.holds(f"{client.name}: no call failed", lambda: f"{client.stop()} calls")
    checks.holds("whoever came meanwhile could sign in, and call", lambda: equal(broken, []) or f"{len(lives)} lives")
    answers = cluster.ingress.answers()
    failures = [line for status, _, line in answers if status >= 500 or status == 429]
    if not checks.holds("no answer was a failure of the edge", lambda: equal(failures[:10], []) or f"{len(answers)} answers"):
        print("\n".join(f"    {pod.name}: {line}" for pod in old + cluster.pods for line in pod.said().splitlines() if not is_routine(line)))
    asked = {address: sum(who == address for _, who, _ in answers) for address in {pod.address for pod in old + cluster.pods}}
    checks.holds("every replica had its share", lambda: over_each(asked, len(answers) // 20))
    checks.holds("none was found unwell", lambda: equal([pod.name for pod in old + cluster.pods if pod.unwell], []))
    print(f"MEASURED replicas seconds={time.monotonic() - begun:.0f} answers={len(answers)} asked={asked}")


def is_routine(line):
    """What a replica says of an answer that is no failure, or of nothing in particular."""
    said = json.loads(line) if line.startswith("{") else {}
    return said.get("level") == "INFO" and int(said.get("status", 0)) < 500


def equal(seen, wanted):
    assert seen == wanted, f"it is: {seen}"


def over_each(counts, least):
    assert len(counts) == 2 * REPLICAS and min(counts.values()) > least, f"{counts}, at least {least} wanted"


if __name__ == "__main__":
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="sallyport-replicas-") as folder:
        os.chmod(folder, 0o755)
        try:
            rehearse(Cluster(pathlib.Path(folder), pathlib.Path(sys.argv[1]), sys.argv[2]), checks)
        except Exception as error:
            print(f"FAILED {type(error).__name__}: {error}")
            checks.failed += 1
    print(f"replicas: {checks.passed} passed, {checks.failed} failed")
    # The process is the first of its namespace: what it has started ends with it.
    sys.stdout.flush()
    os._exit(checks.failed != 0)
