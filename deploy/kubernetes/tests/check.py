"""Tests of ../overlays. The last line is the count, for .ci/total."""
import copy, json, os, pathlib, re, shutil, subprocess, sys, tempfile, unittest

import kubernetes_validate, yaml

import policies
from policies import named, pod

HERE = pathlib.Path(__file__).resolve().parent
KUBERNETES = HERE.parent
ROOT = KUBERNETES.parent.parent
OVERLAYS = ["dev", "production", "production-sentinel"]
PRODUCTION = OVERLAYS[1:]
# The oldest with `preStop.sleep` switched on, one between, and the newest that the checker knows.
VERSIONS = ["1.30", "1.34", "1.37"]
CUSTOM = {"HTTPRoute", "ServiceMonitor"}
PROGRAMS = os.environ.get("PROGRAMS", "")


def golden(overlay):
    return HERE / "golden" / f"{overlay}.yaml"


def resources(overlay):
    return list(yaml.safe_load_all(golden(overlay).read_text()))


def render(folder):
    """What kustomize makes of a folder; None where it is not to be had."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            return subprocess.run([*command, str(folder)], check=True, capture_output=True, text=True, timeout=60).stdout


def schema_errors(found, version):
    for resource in found:
        if resource["kind"] not in CUSTOM:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{policies.name(resource)}: {error.message}"


def custom_errors(found):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([resource for resource in found if resource["kind"] in CUSTOM], file)
        file.flush()
        done = subprocess.run(["node", HERE / "custom_resources.mjs", file.name], capture_output=True, text=True, timeout=120)
        return done.stderr.strip()


def complaints(found):
    return [complaint for policy in policies.ALL for complaint in policy(found)]


class Manifests(unittest.TestCase):
    maxDiff = None

    def test_the_overlays_amount_to_what_was_reviewed(self):
        for overlay in OVERLAYS:
            with self.subTest(overlay):
                rendered = render(KUBERNETES / "overlays" / overlay)
                if rendered is None:
                    self.skipTest("neither kustomize nor kubectl is here")
                if os.environ.get("GOLDEN") == "write":
                    golden(overlay).write_text(rendered)
                self.assertEqual(rendered, golden(overlay).read_text(), "GOLDEN=write writes it anew")

    def test_three_versions_of_kubernetes_take_them_strictly(self):
        for overlay in OVERLAYS:
            for version in VERSIONS:
                with self.subTest(overlay=overlay, version=version):
                    self.assertEqual(list(schema_errors(resources(overlay), version)), [])

    def test_a_misspelt_key_is_found(self):
        found = resources("production")
        container = pod(named(found, "Deployment", "sallyport"))["containers"][0]
        container["lifecycle"]["preSTop"] = container["lifecycle"].pop("preStop")
        for version in VERSIONS:
            self.assertIn("preSTop", " ".join(schema_errors(found, version)))

    def test_custom_resources_have_the_types_of_their_definitions(self):
        for overlay in PRODUCTION:
            self.assertEqual(custom_errors(resources(overlay)), "", overlay)

    def test_a_misspelt_key_or_a_bad_value_of_a_custom_resource_is_found(self):
        found = resources("production")
        rules = named(found, "HTTPRoute", "sallyport")["spec"]["rules"]
        rules[0]["timeout"] = rules[0].pop("timeouts")
        self.assertIn('"timeout"', custom_errors(found))
        found = resources("production")
        named(found, "HTTPRoute", "sallyport")["spec"]["rules"][0]["timeouts"]["request"] = "never"
        self.assertIn("HTTPRoute/sallyport", custom_errors(found))
        found = resources("production")
        named(found, "ServiceMonitor", "sallyport")["spec"]["endpoints"][0]["intervall"] = "15s"
        self.assertIn("intervall", custom_errors(found))

    def test_every_policy_is_met(self):
        for overlay in OVERLAYS:
            self.assertEqual(complaints(resources(overlay)), [], overlay)

    def test_every_policy_finds_what_it_is_for(self):
        def container(found, workload="sallyport"):
            return pod(named(found, "Deployment", workload))["containers"][0]

        def policy(found, wanted):
            return named(found, "NetworkPolicy", wanted)["spec"]

        breaks = [
            ("may run as root", lambda r: pod(named(r, "Deployment", "sallyport"))["securityContext"].pop("runAsNonRoot")),
            ("no seccomp profile", lambda r: pod(named(r, "Deployment", "sallyport"))["securityContext"].pop("seccompProfile")),
            ("a token of the cluster", lambda r: pod(named(r, "Deployment", "sallyport")).pop("automountServiceAccountToken")),
            ("may gain privileges", lambda r: container(r)["securityContext"].pop("allowPrivilegeEscalation")),
            ("has capabilities", lambda r: container(r)["securityContext"].pop("capabilities")),
            ("can write", lambda r: container(r, "sallyport-mcp-server")["securityContext"].pop("readOnlyRootFilesystem")),
            ("does not enforce", lambda r: named(r, "Namespace", "sallyport")["metadata"].pop("labels")),
            ("takes x:latest", lambda r: container(r).update(image="x:latest")),
            ("no limit on memory", lambda r: container(r)["resources"].pop("limits")),
            ("is killed after 50", lambda r: pod(named(r, "Deployment", "sallyport")).update(terminationGracePeriodSeconds=50)),
            ("has no preStop", lambda r: container(r).pop("lifecycle")),
            ("livenessProbe does not ask", lambda r: container(r)["livenessProbe"]["httpGet"].update(path="/readyz")),
            ("fewer replicas", lambda r: named(r, "Deployment", "sallyport")["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1)),
            ("all on one node", lambda r: pod(named(r, "Deployment", "sallyport")).pop("topologySpreadConstraints")),
            ("no disruption budget", lambda r: named(r, "PodDisruptionBudget", "sallyport")["spec"]["selector"]["matchLabels"].update(x="y")),
            ("faster than one replica", lambda r: named(r, "HorizontalPodAutoscaler", "sallyport")["spec"]["behavior"]["scaleDown"]["policies"][0].update(value=2)),
            ("a fixed number", lambda r: named(r, "Deployment", "sallyport")["spec"].update(replicas=3)),
            ("selects 0 workloads", lambda r: named(r, "Service", "sallyport")["spec"]["selector"].update(x="y")),
            ("a port that is not there", lambda r: named(r, "Service", "sallyport")["spec"]["ports"][0].update(targetPort="web")),
            ("forbids everything", lambda r: policy(r, "nothing").update(podSelector={"matchLabels": {"x": "y"}})),
            ("open to everybody", lambda r: policy(r, "sallyport")["ingress"][0].pop("from")),
            ("metadata service", lambda r: policy(r, "internet")["egress"][0]["to"][0]["ipBlock"]["except"].remove("169.254.0.0/16")),
            ("others than the gateway", lambda r: policy(r, "sallyport-mcp-server")["ingress"][0]["from"].append({"podSelector": {}})),
            ("others than monitoring", lambda r: policy(r, "sallyport")["ingress"][0]["ports"].append({"port": "admin"})),
            ("limits ['/mcp']", lambda r: named(r, "HTTPRoute", "sallyport")["spec"]["rules"][0]["timeouts"].update(request="60s")),
            ("another host", lambda r: named(r, "HTTPRoute", "sallyport")["spec"].update(hostnames=["other.example.com"])),
            ("no federated token", lambda r: named(r, "Deployment", "sallyport")["spec"]["template"]["metadata"]["labels"].pop("azure.workload.identity/use")),
            ("has the identity", lambda r: named(r, "ServiceAccount", "sallyport")["metadata"].pop("annotations")),
            ("which is not mounted", lambda r: container(r)["volumeMounts"].pop(1)),
        ]
        for words, break_it in breaks:
            with self.subTest(words):
                found = copy.deepcopy(resources("production"))
                break_it(found)
                self.assertIn(words, "\n".join(complaints(found)))

    @unittest.skipUnless(PROGRAMS, "no programs were named")
    def test_the_programs_take_their_configuration_and_environment(self):
        for overlay in PRODUCTION:
            found = resources(overlay)
            for workload, program in (("sallyport", "sallyport"), ("sallyport-mcp-server", "sallyport-mcp-server")):
                with self.subTest(overlay=overlay, program=program), tempfile.TemporaryDirectory() as folder:
                    done = self.checked(found, named(found, "Deployment", workload), f"{PROGRAMS}/{program}", pathlib.Path(folder))
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def checked(self, found, workload, program, folder):
        """Runs `check` with what the container would have, below a folder in the place of the root."""
        container = pod(workload)["containers"][0]
        volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
        for mount in container["volumeMounts"]:
            place = folder / mount["mountPath"].lstrip("/")
            place.mkdir(parents=True)
            volume = volumes[mount["name"]]
            if "configMap" in volume:
                for file, text in named(found, "ConfigMap", volume["configMap"]["name"])["data"].items():
                    place.joinpath(file).write_text(self.moved(text, folder))
            elif volume["secret"]["secretName"] == "sallyport-keys":
                subprocess.run([f"{PROGRAMS}/sallyport", "keys", "new", "--file", place / "keys.json"], check=True, capture_output=True)
            else:
                place.joinpath("secret").write_text("0123456789abcdef" * 4)
                place.joinpath("password").write_text("0123456789abcdef" * 4)
                place.joinpath("ca.crt").write_text((HERE / "ca.crt").read_text())
        token = folder / "token"
        token.write_text("a.b.c")
        environment = {v["name"]: self.moved(v["value"], folder) for v in container.get("env", [])}
        environment |= {"AZURE_FEDERATED_TOKEN_FILE": str(token), "PATH": os.environ["PATH"]}
        self.assertEqual(container["args"][0], "serve")
        arguments = [self.moved(argument, folder) for argument in container["args"][1:]]
        return subprocess.run([program, "check", *arguments], env=environment, capture_output=True, text=True, timeout=60)

    def moved(self, text, folder):
        return re.sub(r"/(etc|var)/", lambda match: f"{folder}{match[0]}", text)

    def test_the_how_to_is_what_a_cluster_would_take(self):
        """Runs the commands of docs/howto/kubernetes.md with `kubectl` beside this file, which needs no cluster."""
        if not shutil.which("kubectl"):
            self.skipTest("kubectl is not here")
        text = (ROOT / "docs/howto/kubernetes.md").read_text()
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
        self.assertGreaterEqual(len(blocks), 4)
        with tempfile.TemporaryDirectory() as folder:
            record = pathlib.Path(folder, "record")
            environment = {**os.environ, "REAL_KUBECTL": shutil.which("kubectl"), "RECORD": str(record),
                           "PATH": f"{HERE}:{PROGRAMS or HERE}:{os.environ['PATH']}"}
            pathlib.Path(folder, "deploy").symlink_to(ROOT / "deploy")
            for block in blocks:
                if not PROGRAMS:
                    block = block.replace("sallyport keys new --file keys.json", "echo '{}' > keys.json")
                done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment,
                                      capture_output=True, text=True, timeout=120)
                self.assertEqual(done.returncode, 0, block + done.stdout + done.stderr)
            made = [json.loads(line) for line in record.read_text().splitlines()]
        secrets = {policies.name(r) for r in made if r["kind"] == "Secret"}
        wanted = {f"Secret/{volume['secret']['secretName']}" for overlay in PRODUCTION for r in resources(overlay)
                  if r["kind"] == "Deployment" for volume in pod(r)["volumes"] if "secret" in volume}
        self.assertEqual(secrets, wanted, "the how-to makes every secret that is mounted, and no other")
        for secret in [r for r in made if r["kind"] == "Secret"]:
            self.assertEqual(secret["metadata"]["namespace"], "sallyport")
            self.assertEqual(list(schema_errors([secret], VERSIONS[-1])), [])


if __name__ == "__main__":
    program = unittest.main(argv=sys.argv, exit=False)
    result = program.result
    failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    skipped = len({getattr(test, "test_case", test).id() for test, _ in result.skipped})
    counted = f", {skipped} skipped" if skipped else ""
    print(f"kubernetes: {result.testsRun - failed - skipped} passed, {failed} failed{counted}")
    sys.exit(failed != 0)
