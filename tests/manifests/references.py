"""Checks of what names what: ConfigMaps, Secrets, accounts, labels, namespaces; and of who may talk to whom."""

import re
from collections.abc import Iterator

from manifests.rendering import Object, Pod, Rendered

_RUN_ID_FIELD = "metadata.labels['batch.kubernetes.io/job-name']"
_CLUSTER_KINDS = {"Namespace", "PriorityClass"}
_ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"
_REFERENCES = {
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
}
_THROW_AWAY = "tuning-job/throw-away"
_ROLE = re.compile(r"arn:aws(-[a-z]+)*:iam::\d{12}:role/[\w+=,.@/-]+")
_KEY_VARIABLES = re.compile(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)")
# Amazon's form of a key id, and ways to write a secret into a document.
_KEYS_IN_TEXT = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|aws_secret_access_key|s3://[^/\s]*:[^/\s]*@", re.IGNORECASE)
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# DNS; HTTPS; Pod Identity's agent, at its own address alone; the try-out's MinIO, at its own pods alone.
_OPEN_PORTS = {53, 443}
_PORTS_OF_ONE_PEER = {80: "169.254.170.23/32", 9000: "minio"}


def references_exist(rendered: Rendered) -> list[str]:
    """ConfigMaps and Secrets that a pod needs to start are rendered with it, with the keys that it asks for."""
    there = {
        kind: {one["metadata"]["name"]: {*one.get("data", {}), *one.get("stringData", {})} for one in found}
        for kind, found in {kind: rendered.of_kind(kind) for kind in ("ConfigMap", "Secret")}.items()
    }
    missing = []
    for pod in rendered.pods():
        for kind, name, key, is_optional in _references(pod):
            keys = there[kind].get(name)
            if not is_optional and (keys is None or (key is not None and key not in keys)):
                missing.append(f"{pod.where}: no {kind} {name}{'' if key is None else f' with {key}'}")
    return missing


def _references(pod: Pod) -> Iterator[tuple[str, str, str | None, bool]]:
    """Kind, name, key and whether the pod starts without it."""
    for volume in pod.spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"], None, volume["configMap"].get("optional", False)
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"], None, volume["secret"].get("optional", False)
    for container in pod.all_containers:
        sources = list(container.get("envFrom", ()))
        sources += [one["valueFrom"] for one in container.get("env", ()) if "valueFrom" in one]
        for source in sources:
            for field, reference in source.items():
                if kind := _REFERENCES.get(field):
                    yield kind, reference["name"], reference.get("key"), reference.get("optional", False)


def accounts_exist(rendered: Rendered) -> list[str]:
    """Pods run as accounts that are rendered, or as the namespace's own; accounts mount no token and are used."""
    accounts = {one["metadata"]["name"]: one for one in rendered.of_kind("ServiceAccount")}
    used = {pod.where: pod.spec.get("serviceAccountName", "default") for pod in rendered.pods()}
    found = [f"{where}: no ServiceAccount {name}" for where, name in used.items() if name not in {*accounts, "default"}]
    found += [f"ServiceAccount {name} is used by no pod" for name in accounts.keys() - set(used.values())]
    found += [
        f"{pod.where}: as the namespace's account" for pod, _ in rendered.tuning_pods() if used[pod.where] == "default"
    ]
    found += [
        f"ServiceAccount {name} mounts its token"
        for name, one in accounts.items()
        if one.get("automountServiceAccountToken") is not False
    ]
    return found


def run_id_is_the_jobs_name(rendered: Rendered) -> list[str]:
    """A retry goes on with its Job's run, and each Job has its own."""
    found = []
    for pod, container in rendered.tuning_pods():
        given = [one for one in container.get("env", ()) if one["name"] == "JOB_RUN_ID"]
        fields = [one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") for one in given]
        if fields != [_RUN_ID_FIELD]:
            found.append(f"{pod.where}: JOB_RUN_ID is {fields}, not the name of the Job")
    return found


def selectors_find_pods(rendered: Rendered) -> list[str]:
    """What selects pods selects some of these."""
    labels = [pod.labels for pod in rendered.pods()]
    found = []
    for one in rendered.of_kind("Service", "NetworkPolicy", "StatefulSet"):
        selector = one["spec"].get("selector") or one["spec"].get("podSelector")
        wanted = selector.get("matchLabels", selector)
        if not any(wanted.items() <= of_pod.items() for of_pod in labels):
            found.append(f"{one['kind']}/{one['metadata']['name']} selects no pod: {wanted}")
    found += [
        f"{pod.where}: its own spread constraint does not count it"
        for pod in rendered.pods()
        for constraint in pod.spec.get("topologySpreadConstraints", ())
        if not constraint["labelSelector"]["matchLabels"].items() <= pod.labels.items()
    ]
    return found


def network_is_closed(rendered: Rendered) -> list[str]:
    """Each pod is under a policy for both directions; nobody connects to the job, and it connects to few ports."""
    policies = rendered.of_kind("NetworkPolicy")
    found = []
    for pod in rendered.pods():
        over = [
            one["spec"]
            for one in policies
            if one["spec"]["podSelector"].get("matchLabels", {}).items() <= pod.labels.items()
        ]
        found += [
            f"{pod.where}: {direction} is open"
            for direction in ("Ingress", "Egress")
            if not any(direction in spec.get("policyTypes", ()) for spec in over)
        ]
        if pod.tuning is None:
            continue
        if any(spec.get("ingress") for spec in over):
            found.append(f"{pod.where}: something may connect to the job")
        for rule in (rule for spec in over for rule in spec.get("egress", ())):
            found += [f"{pod.where}: {problem}" for problem in _open_egress(rule)]
    return found


def _open_egress(rule: Object) -> list[str]:
    ports = [port.get("port") for port in rule.get("ports", ())]
    if not ports or not rule.get("to"):
        return ["an egress rule without ports or peers allows everything"]
    peers = str(rule["to"])
    allowed = _OPEN_PORTS | {port for port, peer in _PORTS_OF_ONE_PEER.items() if peer in peers}
    found = [f"egress to port {port}" for port in ports if port not in allowed]
    blocks = [peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer]
    if any(block["cidr"] == "0.0.0.0/0" and "169.254.0.0/16" not in block.get("except", ()) for block in blocks):
        found.append("egress to the node's metadata service")
    return found


def namespaces_agree(rendered: Rendered) -> list[str]:
    """All objects are in one namespace, which is rendered too where it is named, and enforces `restricted`."""
    used = {one["metadata"].get("namespace") for one in rendered.objects if one["kind"] not in _CLUSTER_KINDS}
    made = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in rendered.of_kind("Namespace")}
    found = [] if len(used) == 1 else [f"objects in the namespaces {sorted(map(str, used))}"]
    if made and used != set(made):
        found.append(f"the namespaces {sorted(made)} are made, {sorted(map(str, used))} used")
    found += [
        f"namespace {name} does not enforce restricted pods"
        for name, labels in made.items()
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted"
    ]
    return found


def names_are_valid(rendered: Rendered) -> list[str]:
    """Names are DNS labels, and no two objects of a kind share one."""
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered.objects]
    found = [f"{kind}/{name} is there twice" for kind, name in set(names) if names.count((kind, name)) > 1]
    return found + [f"{kind}/{name} is no DNS label" for kind, name in names if not _DNS_NAME.fullmatch(name)]


def keys_are_nowhere(rendered: Rendered) -> list[str]:
    """No manifest carries keys of S3, but for the try-out's; where there is a role, nothing could stand before it."""
    accounts = rendered.of_kind("ServiceAccount")
    roles = [one["metadata"].get("annotations", {}).get(_ROLE_ANNOTATION) for one in accounts]
    found = [f"{role} is no ARN of a role" for role in roles if role is not None and not _ROLE.fullmatch(role)]
    found += [
        f"Secret {one['metadata']['name']} is committed and not marked as throw-away"
        for one in rendered.of_kind("Secret")
        if one["metadata"].get("annotations", {}).get(_THROW_AWAY) != "true"
    ]
    for name, content in rendered.configmaps.items():
        found += [
            f"ConfigMap {name}: {key} has a key of S3 in it" for key in content if _KEYS_IN_TEXT.search(content[key])
        ]
    for pod, container in rendered.tuning_pods():
        found += [
            f"{pod.where}: {one['name']} in the manifest"
            for one in container.get("env", ())
            if _KEY_VARIABLES.fullmatch(one["name"])
        ]
        if any(roles) and any("secretRef" in source for source in container.get("envFrom", ())):
            found.append(f"{pod.where}: a Secret's keys would stand before the role")
    return found
