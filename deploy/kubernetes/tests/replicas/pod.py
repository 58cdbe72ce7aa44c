"""What a kubelet does with a pod of a Deployment: file system, mounts, user, probes, the way out."""
import os, pathlib, re, shutil, signal, subprocess, sys, threading, time, urllib.request

import policies
from network import run, within

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = "/var/run/secrets/azure/tokens"


class Pod:
    """A running container, in the network namespace of its name. `secrets` are files by the name of the secret; `more` is what an admission webhook adds: files of
    a mount, and environment."""

    def __init__(self, network, stage, resources, workload, name, address, image, secrets, more):
        self.name, self.address = name, address
        self.spec = policies.pod(workload)
        self.container = self.spec["containers"][0]
        self.ready, self.leaving, self.exit_code, self.unwell = False, False, None, []
        folder = stage / name
        mounts = [(network.hosts, "/etc/hosts"), (stage / "roots.crt", "/etc/ssl/certs/ca-certificates.crt"), *self._mounts(folder, resources, secrets, more)]
        environment = {v["name"]: v["value"] for v in self.container.get("env", [])} | more["environment"]
        context = self.spec["securityContext"]
        wanted = [f"{source}={target}" for source, target in mounts]
        command = [f"/usr/bin/{image.name}", *self.container["args"]]
        self.log = open(stage / f"{name}.log", "w")
        self.process = subprocess.Popen(
            within(name, "unshare", "--mount", "--propagation", "private", sys.executable, HERE / "container.py", image,
                   context["runAsUser"], context["runAsGroup"], *wanted, "--", *command),
            env=environment | {"PATH": os.environ["PATH"]}, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.probing = threading.Thread(target=self._probe, daemon=True)
        self.probing.start()

    def _mounts(self, folder, resources, secrets, more):
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        for mount in self.container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "configMap" in volume:
                files = policies.named(resources, "ConfigMap", volume["configMap"]["name"])["data"]
                mode = 0o644
            else:
                files, mode = secrets[volume["secret"]["secretName"]], volume["secret"]["defaultMode"]
            yield self._written(folder / mount["name"], files, mode), mount["mountPath"]
        yield self._written(folder / "tokens", more["files"], 0o440), TOKENS

    def _written(self, place, files, mode):
        """As a volume has them: root's, readable to the pod's group."""
        place.mkdir(parents=True)
        for name, text in files.items():
            file = place / name
            file.write_text(text)
            os.chown(file, 0, self.spec["securityContext"]["fsGroup"])
            file.chmod(mode)
        place.chmod(0o755)
        return place

    def _probe(self):
        """Once it has started up, every `periodSeconds`, until it is gone."""
        startup, readiness, liveness = (self.container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness"))
        begun = time.monotonic()
        while not self._asks(startup):
            if self.process.poll() is not None or time.monotonic() - begun > startup["failureThreshold"] * startup["periodSeconds"]:
                return
            time.sleep(0.2)
        refused = 0
        while self.process.poll() is None:
            refused = 0 if self._asks(readiness) else refused + 1
            if refused == 0 or refused >= readiness["failureThreshold"]:
                self.ready = refused == 0
            if not self.leaving and not self._asks(liveness):
                self.unwell.append(time.monotonic())
            # Before the first success a kubelet asks at the same pace; here sooner, for nobody learns from waiting.
            time.sleep(readiness["periodSeconds"] if self.ready else 0.5)

    def _asks(self, probe):
        get = probe["httpGet"]
        try:
            with urllib.request.urlopen(f"http://{self.address}:{self.port(get['port'])}{get['path']}", timeout=1) as answer:
                return 200 <= answer.status < 400
        except OSError:
            return False

    def port(self, name):
        return next(port["containerPort"] for port in self.container["ports"] if port["name"] == name)

    def leave(self):
        """preStop, SIGTERM, and no longer than the grace. Gives what was wrong with it, or nothing."""
        self.leaving = True
        told = time.monotonic()
        time.sleep(self.container["lifecycle"]["preStop"]["sleep"]["seconds"])
        self.process.send_signal(signal.SIGTERM)
        try:
            self.exit_code = self.process.wait(self.spec["terminationGracePeriodSeconds"] - (time.monotonic() - told))
        except subprocess.TimeoutExpired:
            self.process.kill()
            return f"{self.name} had to be killed"
        return f"{self.name} ended with {self.exit_code}" if self.exit_code else None

    def rights(self):
        """What the kernel says of the process."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return {key: re.search(rf"^{key}:\s*(.*)$", status, re.M)[1].split()[0] for key in ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs")}

    def said(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()


def image(stage, program):
    """The file system of the image, by the script that lays it out, with the places where mounts go."""
    root = stage / "images" / program.name
    run(HERE.parents[2] / "container" / "root", program, root)
    return root / "usr/bin" / program.name
