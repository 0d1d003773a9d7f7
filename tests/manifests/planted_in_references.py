"""Mistakes about what names what, who talks to whom and with which keys; and what the schema knows."""

from manifests.planting import SCHEMA, Mistake, cron_field, in_containers, in_object, in_pods, spec_text, variable

_BASE = "base"
_AWS = "overlays/aws"
_MINIO = "overlays/minio"
_NETWORK = "network_is_closed"
_KEYS = "keys_are_nowhere"
_ALL_FROM = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"protocol": "TCP", "port": 443}]}


IN_REFERENCES = (
    Mistake(
        "a ConfigMap that is not there",
        _BASE,
        "references_exist",
        in_pods(
            lambda spec: (
                spec["volumes"].append({"name": "more", "configMap": {"name": "more"}})
                or spec["containers"][0]["volumeMounts"].append({"name": "more", "mountPath": "/more"})
            )
        ),
    ),
    Mistake(
        "a Secret that is not there",
        _BASE,
        "references_exist",
        in_containers(lambda one: one["envFrom"][0]["secretRef"].pop("optional")),
    ),
    Mistake(
        "a key that the Secret lacks",
        _MINIO,
        "references_exist",
        in_object(
            "StatefulSet",
            "minio",
            lambda one: one["spec"]["template"]["spec"]["containers"][0]["env"][1]["valueFrom"]["secretKeyRef"].update(
                key="USER"
            ),
        ),
    ),
    Mistake(
        "an account that is not there",
        _BASE,
        "accounts_exist",
        in_object("ServiceAccount", "tuning-job", lambda one: one["metadata"].update(name="tuning")),
    ),
    Mistake(
        "a Service of no pod",
        _MINIO,
        "selectors_find_pods",
        in_object("Service", "minio", lambda one: one["spec"].update(selector={"app": "minio"})),
    ),
    Mistake(
        "one object in another namespace",
        _AWS,
        "namespaces_agree",
        in_object("ConfigMap", "tuning-job-spec", lambda one: one["metadata"].update(namespace="default")),
    ),
    Mistake(
        "a namespace that takes any pod",
        _AWS,
        "namespaces_agree",
        in_object("Namespace", "tuning", lambda one: one["metadata"].pop("labels")),
    ),
    Mistake(
        "a name with an underscore",
        _MINIO,
        "names_are_valid",
        in_object("NetworkPolicy", "minio", lambda one: one["metadata"].update(name="min_io")),
    ),
    # Who talks to whom, and with which keys
    Mistake(
        "a policy for incoming traffic alone",
        _BASE,
        _NETWORK,
        in_object("NetworkPolicy", "tuning-job", lambda one: one["spec"].update(policyTypes=["Ingress"])),
    ),
    Mistake(
        "a rule that lets all out",
        _BASE,
        _NETWORK,
        in_object("NetworkPolicy", "tuning-job", lambda one: one["spec"]["egress"].append({})),
    ),
    Mistake(
        "the metadata service within reach",
        _BASE,
        _NETWORK,
        in_object("NetworkPolicy", "tuning-job", lambda one: one["spec"]["egress"].append(_ALL_FROM)),
    ),
    Mistake(
        "a port that is not needed",
        _AWS,
        _NETWORK,
        in_object(
            "NetworkPolicy",
            "tuning-job",
            lambda one: one["spec"]["egress"][1]["ports"].append({"protocol": "TCP", "port": 5432}),
        ),
    ),
    Mistake(
        "visitors",
        _BASE,
        _NETWORK,
        in_object("NetworkPolicy", "tuning-job", lambda one: one["spec"].update(ingress=[{}])),
    ),
    Mistake(
        "static keys before the role",
        _AWS,
        _KEYS,
        in_containers(lambda one: one.update(envFrom=[{"secretRef": {"name": "tuning-job-s3", "optional": True}}])),
    ),
    Mistake("a key in a variable", _AWS, _KEYS, variable("AWS_SECRET_ACCESS_KEY", value="x")),
    Mistake("a password in the spec", _BASE, _KEYS, spec_text("# The job spec", "# s3://user:password@bucket")),
    Mistake(
        "a role without an account",
        _AWS,
        _KEYS,
        in_object(
            "ServiceAccount",
            "tuning-job",
            lambda one: one["metadata"]["annotations"].update({"eks.amazonaws.com/role-arn": "tuning-job"}),
        ),
    ),
    Mistake(
        "a committed Secret",
        _MINIO,
        _KEYS,
        in_object("Secret", "tuning-job-s3", lambda one: one["metadata"].pop("annotations")),
    ),
    # What the schema knows
    Mistake("a misspelt field", _BASE, SCHEMA, in_pods(lambda spec: spec.update(imagePullSecret="registry"))),
    Mistake("a word for a number", _BASE, SCHEMA, cron_field("successfulJobsHistoryLimit", "three")),
    Mistake(
        "a version of the API that is not there",
        _BASE,
        SCHEMA,
        in_object("CronJob", "tuning-job-nightly", lambda one: one.update(apiVersion="batch/v1beta1")),
    ),
)
