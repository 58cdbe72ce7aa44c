"""What the manifests must be like beyond their schemas. Each policy yields what is wrong."""
import ipaddress, re, tomllib

METADATA = ipaddress.ip_address("169.254.169.254")


def of(resources, *kinds):
    return [resource for resource in resources if resource["kind"] in kinds]


def name(resource):
    return f"{resource['kind']}/{resource['metadata']['name']}"


def named(resources, kind, wanted):
    return next((resource for resource in of(resources, kind) if resource["metadata"]["name"] == wanted), None)


def pod(workload):
    return workload["spec"]["template"]["spec"]


def containers(workload):
    return pod(workload)["containers"] + pod(workload).get("initContainers", [])


def labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def selects(selector, workload):
    return all(labels(workload).get(key) == value for key, value in selector.get("matchLabels", {}).items())


def configuration(resources, workload):
    """The TOML that a workload is configured with, or None."""
    for volume in pod(workload).get("volumes", []):
        if "configMap" in volume:
            data = named(resources, "ConfigMap", volume["configMap"]["name"])
            return tomllib.loads(next(iter(data["data"].values()))) if data else None


def every_pod_is_restricted(resources):
    for workload in of(resources, "Deployment"):
        context = pod(workload).get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{name(workload)} may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name(workload)} has no seccomp profile"
        if pod(workload).get("automountServiceAccountToken") is not False:
            yield f"{name(workload)} is given a token of the cluster"
        if any(pod(workload).get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name(workload)} shares its node's namespaces"
        for volume in pod(workload).get("volumes", []):
            if not {"configMap", "secret", "projected", "emptyDir"} & volume.keys():
                yield f"{name(workload)} mounts {volume['name']}"
        for container in containers(workload):
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{name(workload)} may gain privileges"
            if own.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{name(workload)} has capabilities"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{name(workload)} can write its file system"
    for namespace in of(resources, "Namespace"):
        if namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{name(namespace)} does not enforce `restricted`"
    if not of(resources, "Namespace"):
        yield "there is no namespace"


def images_have_a_version(resources):
    for workload in of(resources, "Deployment"):
        for container in containers(workload):
            if not re.search(r"(:v?\d[\w.-]*|@sha256:[0-9a-f]{64})$", container["image"]):
                yield f"{name(workload)} takes {container['image']}"


def resources_are_bounded(resources):
    for workload in of(resources, "Deployment"):
        for container in containers(workload):
            given = container.get("resources", {})
            if not {"cpu", "memory"} <= given.get("requests", {}).keys() or "memory" not in given.get("limits", {}):
                yield f"{name(workload)} has no requests, or no limit on memory"


def leaving_takes_less_than_the_grace(resources):
    for workload in of(resources, "Deployment"):
        settings = configuration(resources, workload)
        if not settings:
            continue
        stop = containers(workload)[0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if not stop:
            yield f"{name(workload)} has no preStop"
        # The server's own bound, unless the file says another.
        drain = settings.get("drain")
        seconds = sum(int(drain[key].removesuffix("s")) for key in ("delay", "window")) if drain else 30
        grace = pod(workload).get("terminationGracePeriodSeconds", 30)
        if grace < stop + seconds + 10:
            yield f"{name(workload)} is killed after {grace} seconds, of {stop + seconds} that it may need"


def probes_ask_what_they_should(resources):
    for workload in of(resources, "Deployment"):
        if not configuration(resources, workload):
            continue
        container = containers(workload)[0]
        admin = {port["name"] for port in container["ports"]} & {"admin"} or {"http"}
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"),
                            ("readinessProbe", "/readyz" if admin == {"admin"} else "/healthz")):
            asks = container.get(probe, {}).get("httpGet", {})
            if asks.get("path") != path or asks.get("port") not in admin:
                yield f"{name(workload)}: its {probe} does not ask {path} at the port {admin}"


def rollouts_and_disruptions_leave_enough(resources):
    for workload in of(resources, "Deployment"):
        if not configuration(resources, workload):
            continue
        if workload["spec"]["strategy"].get("rollingUpdate") != {"maxUnavailable": 0, "maxSurge": 1}:
            yield f"{name(workload)} has fewer replicas during a rollout"
        if not pod(workload).get("topologySpreadConstraints"):
            yield f"{name(workload)} may be all on one node"
        for constraint in pod(workload).get("topologySpreadConstraints", []):
            if not selects(constraint["labelSelector"], workload):
                yield f"{name(workload)} is spread by labels of another"
        if not any(selects(budget["spec"]["selector"], workload) and budget["spec"].get("maxUnavailable") == 1
                   for budget in of(resources, "PodDisruptionBudget")):
            yield f"{name(workload)} has no disruption budget"
    for scaler in of(resources, "HorizontalPodAutoscaler"):
        target = named(resources, "Deployment", scaler["spec"]["scaleTargetRef"]["name"])
        if target is None or "replicas" in target["spec"]:
            yield f"{name(scaler)} scales nothing, or what has a fixed number"
        down = scaler["spec"]["behavior"]["scaleDown"]
        if any(rule["type"] != "Pods" or rule["value"] / rule["periodSeconds"] > 1 / 300 for rule in down["policies"]):
            yield f"{name(scaler)} ends streams faster than one replica in five minutes"
        if scaler["spec"]["minReplicas"] < 3:
            yield f"{name(scaler)} leaves fewer than three"


def services_lead_somewhere(resources):
    for service in of(resources, "Service"):
        found = [w for w in of(resources, "Deployment") if selects({"matchLabels": service["spec"]["selector"]}, w)]
        if len(found) != 1:
            yield f"{name(service)} selects {len(found)} workloads"
            continue
        ports = {port["name"] for port in containers(found[0])[0]["ports"]}
        if not {port["targetPort"] for port in service["spec"]["ports"]} <= ports:
            yield f"{name(service)} leads to a port that is not there"


def nobody_speaks_unless_allowed(resources):
    policies = of(resources, "NetworkPolicy")
    if not any(policy["spec"]["podSelector"] == {} and sorted(policy["spec"]["policyTypes"]) == ["Egress", "Ingress"]
               and not policy["spec"].get("ingress") and not policy["spec"].get("egress") for policy in policies):
        yield "there is no policy that forbids everything"
    for policy in policies:
        for direction, peer in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction) or []:
                if not rule.get(peer) or not rule.get("ports"):
                    yield f"{name(policy)} has an {direction} open to everybody, or to every port"
                for block in [p["ipBlock"] for p in rule.get(peer, []) if "ipBlock" in p]:
                    inside = METADATA in ipaddress.ip_network(block["cidr"]) if ":" not in block["cidr"] else False
                    if inside and not any(METADATA in ipaddress.ip_network(e) for e in block.get("except", [])):
                        yield f"{name(policy)} lets to the metadata service"


def who_reaches_what(resources):
    """The server from the gateway alone; the admin port from monitoring alone."""
    def allowed(workload, ports):
        for policy in of(resources, "NetworkPolicy"):
            if selects(policy["spec"]["podSelector"], workload):
                for rule in policy["spec"].get("ingress") or []:
                    if any(port["port"] in ports for port in rule["ports"]):
                        yield from rule["from"]
    gateway, server = (named(resources, "Deployment", n) for n in ("sallyport", "sallyport-mcp-server"))
    if not gateway or not server:
        return
    if list(allowed(server, {"http", 8000})) != [{"podSelector": {"matchLabels": labels_of_selector(gateway)}}]:
        yield "others than the gateway reach the MCP server"
    if [list(peer) for peer in allowed(gateway, {"admin", 9464})] != [["namespaceSelector"]] or any(
            peer["namespaceSelector"]["matchLabels"] != {"kubernetes.io/metadata.name": "monitoring"}
            for peer in allowed(gateway, {"admin", 9464})):
        yield "others than monitoring reach the admin port"


def labels_of_selector(workload):
    return workload["spec"]["selector"]["matchLabels"]


def streams_have_no_time_limit(resources):
    gateway = named(resources, "Deployment", "sallyport")
    paths = {u["path"] for u in configuration(resources, gateway)["upstream"]} if gateway else set()
    for route in of(resources, "HTTPRoute"):
        unlimited = {match["path"]["value"] for rule in route["spec"]["rules"]
                     if rule.get("timeouts") == {"request": "0s", "backendRequest": "0s"} for match in rule["matches"]}
        if paths - unlimited:
            yield f"{name(route)} limits {sorted(paths - unlimited)}"
        host = configuration(resources, gateway)["public_url"].removeprefix("https://")
        if route["spec"]["hostnames"] != [host]:
            yield f"{name(route)} is for another host than {host}"
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                service = named(resources, "Service", backend["name"])
                if not service or backend["port"] not in [port["port"] for port in service["spec"]["ports"]]:
                    yield f"{name(route)} leads to no service"


def identities_fit(resources):
    for workload in of(resources, "Deployment"):
        settings = configuration(resources, workload)
        if not settings:
            continue
        if labels(workload).get("azure.workload.identity/use") != "true":
            yield f"{name(workload)} gets no federated token"
        account = named(resources, "ServiceAccount", pod(workload)["serviceAccountName"])
        client = (account or {}).get("metadata", {}).get("annotations", {}).get("azure.workload.identity/client-id")
        if client != settings["entra"]["client_id"]:
            yield f"{name(workload)} has the identity {client}"


def files_are_mounted(resources):
    """What the configuration and the environment name is below a mount of the container."""
    for workload in of(resources, "Deployment"):
        settings = configuration(resources, workload)
        if not settings:
            continue
        container = containers(workload)[0]
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        volumes = {volume["name"] for volume in pod(workload)["volumes"]}
        yield from (f"{name(workload)} mounts {m['name']}, which is not there" for m in container["volumeMounts"] if m["name"] not in volumes)
        values = [variable["value"] for variable in container.get("env", [])] + container["args"] + list(texts(settings))
        for value in values:
            if value.startswith(("/etc/", "/var/")) and not any(value.startswith(mount + "/") for mount in mounts):
                yield f"{name(workload)} reads {value}, which is not mounted"


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


ALL = [every_pod_is_restricted, images_have_a_version, resources_are_bounded, leaving_takes_less_than_the_grace,
       probes_ask_what_they_should, rollouts_and_disruptions_leave_enough, services_lead_somewhere,
       nobody_speaks_unless_allowed, who_reaches_what, streams_have_no_time_limit, identities_fit, files_are_mounted]
