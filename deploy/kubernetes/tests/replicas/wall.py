"""What a network plugin makes of the NetworkPolicies: filters in each pod's namespace."""
import ipaddress, subprocess

import policies
from network import within


class Walls:
    """Around every pod that was added. `namespaces` are the addresses of other namespaces' pods, by name; `node` may always come
    in, as a kubelet may."""

    def __init__(self, resources, node, namespaces):
        self.policies = policies.of(resources, "NetworkPolicy")
        self.node, self.namespaces, self.pods = node, namespaces, {}

    def add(self, name, address, workload):
        """Before the pod's process begins. The others' walls are made anew, for it may be a peer of theirs."""
        self.pods[name] = (address, workload)
        for pod in self.pods:
            rules = "\n".join(["flush ruleset", "table inet wall {", *self._chain(pod, "ingress"), *self._chain(pod, "egress"), "}", ""])
            subprocess.run(within(pod, "nft", "-f", "-"), input=rules, text=True, check=True, timeout=30)

    def _chain(self, pod, direction):
        address, workload = self.pods[pod]
        selecting = [policy["spec"] for policy in self.policies if policies.selects(policy["spec"]["podSelector"], workload)]
        forbids = any(direction.capitalize() in policy["policyTypes"] for policy in selecting)
        hook, link, side = {"ingress": ("input", "iif", "saddr"), "egress": ("output", "oif", "daddr")}[direction]
        yield f"chain {direction} {{\ntype filter hook {hook} priority 0; policy {'drop' if forbids else 'accept'};"
        yield f"{link} lo accept\nct state established,related accept"
        if direction == "ingress":
            yield f"ip saddr {self.node} accept"
        for policy in selecting:
            for rule in policy.get(direction) or []:
                for peer in rule["from" if direction == "ingress" else "to"]:
                    for where in self._where(peer, side):
                        yield from (f"{where} {self._port(port, workload)} accept" for port in rule["ports"])
        yield "}"

    def _where(self, peer, side):
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            # There is nothing but IPv4 here.
            if ipaddress.ip_network(block["cidr"]).version == 4:
                outside = f" ip {side} != {{ {', '.join(block['except'])} }}" if block.get("except") else ""
                yield f"ip {side} {block['cidr']}{outside}"
        elif "namespaceSelector" in peer:
            named = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            yield from (f"ip {side} {address}" for address in self.namespaces.get(named, []))
        else:
            yield from (f"ip {side} {address}" for address, workload in self.pods.values() if policies.selects(peer["podSelector"], workload))

    def _port(self, port, workload):
        number = port["port"]
        if isinstance(number, str):
            number = next(p["containerPort"] for p in policies.containers(workload)[0]["ports"] if p["name"] == number)
        return f"{port.get('protocol', 'TCP').lower()} dport {number}" + (f"-{port['endPort']}" if "endPort" in port else "")


def reaches(place, address, port):
    """Whether a connection can be made from there."""
    tried = f"import socket; socket.create_connection(({address!r}, {port}), 1).close()"
    return subprocess.run(within(place, "python3", "-c", tried), capture_output=True, timeout=30).returncode == 0
