"""What the pods meet: Entra and Graph by their own names, the managed Redis, and what ends TLS and chooses a replica."""
import json, os, pathlib, re, subprocess, sys, threading, time

import policies
from network import run, within

LOGIN, GRAPH = "login.microsoftonline.com", "graph.microsoft.com"
GRAPH_ID, REDIS_ID = "00000003-0000-0000-c000-000000000000", "acca5fbb-b7e4-4009-81f1-37e38fd66d78"
# Of the networks for documentation, which are public as far as a policy can tell; the others are the manifests'.
PUBLIC = {"entra": "203.0.113.5", "client": "198.51.100.7"}
INGRESS, REDIS = "10.244.0.10", "10.20.0.4"
# How long it takes until everybody has heard that a pod leaves: preStop is for that.
LATE_S = 2
ENTRA_PORT = 8080


def certificates(stage, *names):
    """An authority that everybody here trusts, and a certificate of its for these names."""
    subject = ",".join(f"DNS:{name}" for name in names)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test", "-keyout", stage / "ca.key", "-out", stage / "ca.crt")
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Test", "-keyout", stage / "tls.key", "-out", stage / "tls.csr")
    (stage / "names").write_text(f"subjectAltName={subject}\n")
    run("openssl", "x509", "-req", "-in", stage / "tls.csr", "-CA", stage / "ca.crt", "-CAkey", stage / "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", stage / "names", "-out", stage / "tls.crt")
    (stage / "roots.crt").write_text(pathlib.Path("/etc/ssl/certs/ca-certificates.crt").read_text() + (stage / "ca.crt").read_text())
    (stage / "tls.key").chmod(0o644)


def eventually(what, seconds, question):
    end = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return answer


class Programs:
    """What was started beside the pods; each has a log."""

    def __init__(self, stage):
        self.stage, self.running = stage, []

    def start(self, name, place, *command, **options):
        log = open(self.stage / f"{name}.log", "w")
        options = {"stdout": log, **options}
        process = subprocess.Popen(within(place, *command), stderr=log, stdin=subprocess.DEVNULL, **options)
        self.running.append(process)
        return process

    def log(self, name):
        return (self.stage / f"{name}.log").read_text()


def directory(gateway, server, public_url):
    """What is registered in Entra: just what the two configurations say."""
    def app(client_id, name, **more):
        return {"client_id": client_id, "name": name, "access_token_version": 2, **more}

    def account(name):
        return [{"issuer": "cluster", "subject": f"system:serviceaccount:{name}", "audience": "api://AzureADTokenExchange"}]

    (gateway, gateway_account), (server, server_account) = gateway, server
    uri, scope = gateway["entra"]["scope"].rsplit("/", 1)
    gateway_id, server_id = gateway["entra"]["client_id"], server["entra"]["client_id"]
    return {"tenant_id": gateway["entra"]["tenant_id"], "gateway": gateway_id, "server": server_id, "apps": [
        app(gateway_id, "Gateway", redirect_uris=[{"uri": f"{public_url}/oauth-callback"}], federated_credentials=account(gateway_account)),
        app(server_id, "Server", identifier_uris=[uri], scopes=[scope], preauthorized=[gateway_id], federated_credentials=account(server_account)),
        {**app(GRAPH_ID, "Microsoft Graph", identifier_uris=[f"https://{GRAPH}"], scopes=["User.Read"]), "access_token_version": 1},
        app(REDIS_ID, "Azure Cache for Redis", identifier_uris=["https://redis.azure.com"])],
        "grants": [{"client": server_id, "resource": GRAPH_ID, "scopes": ["User.Read"]}]}


def start_entra(programs, network, stand_in, seed, accounts):
    """At Entra's and Graph's own names. Gives a service-account token for each account."""
    stage = programs.stage
    network.add("entra", PUBLIC["entra"])
    for name in (LOGIN, GRAPH):
        network.name(name, PUBLIC["entra"])
    (stage / "seed.json").write_text(json.dumps(seed))
    named = [word for account in accounts for word in ("--service-account", f"system:serviceaccount:{account}")]
    entra = programs.start("entra", "entra", stand_in, "--origin", f"https://{LOGIN}", "--port", ENTRA_PORT, "--seed", stage / "seed.json", *named,
                           stdout=subprocess.PIPE, text=True)
    said = entra.stdout.readline()
    if not said:
        raise AssertionError(f"the stand-in for Entra does not start: {programs.log('entra')}")
    servers = "".join(f"""
        server {{
            listen {PUBLIC["entra"]}:443 ssl; server_name {name};
            location / {{ proxy_pass http://127.0.0.1:{ENTRA_PORT}{path}; proxy_set_header Host {LOGIN}; }}
        }}""" for name, path in ((LOGIN, ""), (GRAPH, "/graph/")))
    nginx(programs, "entra-tls", "entra", servers)
    return dict(zip(accounts, json.loads(said)["service_account_tokens"]))


def start_redis(programs, network, environment):
    """As Azure's: TLS, and a user whose password is a token of Entra's, which only Azure can verify, so any is taken here. The
    rights are those of deploy/redis/users.acl."""
    stage, root = programs.stage, pathlib.Path(__file__).resolve().parents[4]
    host, port = redis_at(environment)
    network.add("redis", REDIS)
    network.name(host, REDIS)
    rights = (root / "deploy/redis/users.acl").read_text().replace("user sallyport", f"user {environment['SALLYPORT_STORE__ENTRA_USER']}")
    (stage / "users.acl").write_text(re.sub(r"#\S+", "nopass", rights, count=1))
    programs.start("redis", "redis", "redis-server", "--bind", REDIS, "--port", "0", "--tls-port", port, "--tls-cert-file", stage / "tls.crt",
                   "--tls-key-file", stage / "tls.key", "--tls-ca-cert-file", stage / "ca.crt", "--tls-auth-clients", "no", "--save", "",
                   "--maxmemory-policy", "noeviction", "--aclfile", stage / "users.acl", "--dir", stage)


def redis_at(environment):
    return re.fullmatch(r"rediss://([^:/]+):(\d+)", environment["SALLYPORT_STORE__URL"]).groups()


def nginx(programs, name, place, servers, more=""):
    stage = programs.stage
    folder = stage / name
    folder.mkdir(exist_ok=True)
    (folder / "nginx.conf").write_text(f"""
    daemon off; worker_processes 1; pid {folder}/pid; error_log stderr warn; user root;
    events {{ worker_connections 4096; }}
    http {{
        log_format line '$status $upstream_addr $request_method $uri';
        access_log {folder}/access line;
        client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
        uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
        ssl_certificate {stage}/tls.crt; ssl_certificate_key {stage}/tls.key;
        # Clients' connections are not kept: this proxy ends those that idle when it is told of other replicas, which is its own way.
        keepalive_timeout 0;
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_buffers 8 32k; proxy_buffer_size 32k;
        proxy_read_timeout 1h; client_max_body_size 0; proxy_request_buffering off;
        {more}{servers}
    }}""")
    program = next(path for path in ("/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx") if os.path.exists(path))
    return programs.start(name, place, program, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf")


class Ingress:
    """The Gateway: ends TLS for the route's host, and asks the ready pods of its Service in turn. What fails is not tried again."""

    def __init__(self, programs, network, resources):
        self.programs, self.resources, self.served = programs, resources, []
        route = policies.of(resources, "HTTPRoute")[0]["spec"]
        self.host = route["hostnames"][0]
        backends = {(backend["name"], backend["port"]) for rule in route["rules"] for backend in rule["backendRefs"]}
        (name, number), = backends
        service = policies.named(resources, "Service", name)["spec"]
        self.target = next(port["targetPort"] for port in service["ports"] if port["port"] == number)
        network.add("ingress", INGRESS)
        network.name(self.host, INGRESS)
        self.pods, self.process, self.stopped = [], None, threading.Event()
        self.follower = threading.Thread(target=self._follow, daemon=True)

    def follow(self, pods):
        """From now on, `pods` being a list that others change."""
        self.pods = pods
        self._configure(self._endpoints())
        self.process = nginx(self.programs, "ingress", "ingress", self.configuration)
        self.follower.start()

    def _endpoints(self):
        return [f"{pod.address}:{pod.port(self.target)}" for pod in list(self.pods) if pod.ready and not pod.leaving]

    def _configure(self, endpoints):
        servers = "".join(f"server {endpoint} max_fails=0; " for endpoint in endpoints)
        self.served = endpoints
        self.configuration = f"""
        upstream replicas {{ {servers} keepalive 16; }}
        server {{
            listen {INGRESS}:443 ssl; server_name {self.host};
            location / {{
                proxy_pass http://replicas; proxy_next_upstream off;
                proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
            }}
        }}"""

    def _follow(self):
        while not self.stopped.wait(0.2):
            found = self._endpoints()
            if found and found != self.served:
                self.stopped.wait(LATE_S)
                self._configure(self._endpoints() or found)
                self._write()
                self.process.send_signal(1)

    def _write(self):
        conf = self.programs.stage / "ingress" / "nginx.conf"
        text = conf.read_text()
        conf.write_text(text[: text.index("upstream replicas")].rstrip() + self.configuration + "\n    }\n")

    def answers(self):
        """Every answer so far: status, and who gave it."""
        lines = (self.programs.stage / "ingress" / "access").read_text().splitlines()
        return [(int(line.split()[0]), line.split()[1].partition(":")[0], line) for line in lines]
