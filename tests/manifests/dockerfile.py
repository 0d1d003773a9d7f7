"""Where the Dockerfile and the pods must agree."""

import json
import re

from manifests.rendering import Rendered

_FINAL_STAGE = re.compile(r"^FROM .*$", re.MULTILINE)


def disagreements(dockerfile: str, rendered: Rendered) -> list[str]:
    """What the image says otherwise than the pods that run it."""
    final = _joined_lines(_FINAL_STAGE.split(dockerfile)[-1])
    user, group = _last(final, "USER").split(":")
    found = []
    for pod, container in rendered.tuning_pods():
        context = pod.spec["securityContext"]
        if (str(context["runAsUser"]), str(context["runAsGroup"])) != (user, group):
            found.append(f"{pod.where}: runs as {context['runAsUser']}, the image as {user}:{group}")
        written_to = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        for name in ("HOME", "TMPDIR", "JOB_SCRATCH"):
            path = _variable(final, name)
            if not any(f"{path}/".startswith(f"{mounted}/") for mounted in written_to):
                found.append(f"{pod.where}: {name}={path} is in no volume, and the root is read-only")
        if "command" in container or "args" in container:
            found.append(f"{pod.where}: overrides the image's command line")
    if _exec_form(_last(final, "ENTRYPOINT")) != ["tuning-job"]:
        found.append("the entry point is not tuning-job itself: a shell would keep SIGTERM from it")
    return found


def _joined_lines(text: str) -> str:
    without_comments = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return without_comments.replace("\\\n", " ")


def _last(text: str, instruction: str) -> str:
    found = re.findall(rf"^{instruction}\s+(.+)$", text, re.MULTILINE)
    return found[-1].strip() if found else ""


def _variable(text: str, name: str) -> str:
    found = re.findall(rf"^ENV\s.*?\b{name}=(\S+)", text, re.MULTILINE)
    return found[-1] if found else ""


def _exec_form(written: str) -> list[str] | None:
    try:
        return list(json.loads(written))
    except json.JSONDecodeError:
        return None
