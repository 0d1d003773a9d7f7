"""What is in the image, and what is not."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest
from image.podman import Podman

from job.version import VERSION

ROOT = Path(__file__).parents[2]
CODE_BYTES = 5_000_000
CPU_COMPRESSED_BYTES = 600_000_000
BUILT_FROM = ("Dockerfile", ".dockerignore", "job", "requirements", "pyproject.toml", "README.md", "LICENSE")

INSTALLERS_AND_COMPILERS = """
import importlib.util, json, shutil
commands = "pip pip3 easy_install gcc g++ cc c++ clang ld as strip make cmake go rustc".split()
modules = ["pip", "ensurepip"]
print(json.dumps([*filter(shutil.which, commands), *filter(importlib.util.find_spec, modules)]))
"""
WRITABLE = """
import json, os
found = []
for folder, folders, files in os.walk("/"):
    if folder in {"/proc", "/sys", "/dev"}:
        folders.clear()
        continue
    paths = [folder, *(os.path.join(folder, name) for name in files)]
    found += [path for path in paths if not os.path.islink(path) and os.access(path, os.W_OK, effective_ids=True)]
print(json.dumps(found))
"""
SET_USER = """
import json, os, stat
found = []
for folder, folders, files in os.walk("/"):
    if folder in {"/proc", "/sys", "/dev"}:
        folders.clear()
    for name in files:
        path = os.path.join(folder, name)
        if os.path.lexists(path) and os.lstat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
            found.append(path)
print(json.dumps(found))
"""
# Of every module of the job, its packages and the library that a start may import: is there bytecode, and is it used
# whatever the time of the source? (PEP 552: the flags are the second four bytes; 1 is a hash that is not checked.)
BYTECODE = """
import importlib.util, json, os, sysconfig
library, packages = sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")
left_out = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages"}
count, wrong = 0, []
for top in (library, packages):
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if top == packages or name not in left_out]
        for name in files:
            if name.endswith(".py"):
                count += 1
                source = os.path.join(folder, name)
                try:
                    with open(importlib.util.cache_from_source(source), "rb") as file:
                        flags = int.from_bytes(file.read(8)[4:], "little")
                except OSError:
                    flags = None
                if flags != 1:
                    wrong.append(source)
print(json.dumps({"count": count, "wrong": wrong}))
"""
NAMES = """
import json, os
found = []
for folder, folders, files in os.walk("/"):
    if folder in {"/proc", "/sys", "/dev"}:
        folders.clear()
        continue
    found += [os.path.join(folder, name) for name in [*files, *folders]]
print(json.dumps(found))
"""


@pytest.fixture(scope="session")
def description(podman, image) -> dict:
    return json.loads(podman.output("image", "inspect", image))[0]


def layer_sizes(podman: Podman, image: str) -> list[int]:
    """Bytes of each instruction's layer, the last first."""
    return [entry["size"] for entry in json.loads(podman.output("history", "--format", "json", image))]


def test_nothing_installs_or_compiles(in_image):
    """Whoever gets in finds no pip and no compiler."""
    assert in_image(INSTALLERS_AND_COMPILERS) == []


def test_only_the_scratch_volume_can_be_written_to(in_image):
    """As any user but root, even where the root file system is not mounted read-only; /tmp as on every Unix."""
    for user in ("10001:10001", "4242:0"):
        found = in_image(WRITABLE, "--read-only=false", "--user", user)
        usual = re.compile(r"/scratch|/tmp|/var/tmp|/run/lock|/var/lock")
        assert [path for path in found if not usual.fullmatch(path)] == [], user
        assert "/scratch" in found


def test_no_program_changes_its_user(in_image):
    """There is no set-user-id or set-group-id file."""
    assert in_image(SET_USER, "--user", "0") == []


def test_bytecode_is_there_and_stays_valid(in_image):
    """Every module has bytecode whose validity does not depend on times, which registries and builders change."""
    found = in_image(BYTECODE)
    assert found["wrong"] == []
    # TensorFlow alone has thousands.
    assert found["count"] > 5000


def test_nothing_else_got_in(in_image):
    """No history, tests, environment files, keys or caches of the build; no headers, no static libraries."""
    names = in_image(NAMES, "--user", "0")
    unwanted = re.compile(
        r"/build(/.*)?|/package(/.*)?|/src(/.*)?|.*/\.git|.*/\.env|/root/\..*cache.*|.*/\.aws|.*/tensorflow/include"
        r"|/opt/.*\.a|.*/job/tests|.*\.pem\.key|.*/id_rsa|/opt/tuning-job/bin/(?!python[\d.]*$|tuning-job$|activate).*"
    )
    assert [name for name in names if unwanted.fullmatch(name)] == []
    assert any(name.endswith("/site-packages/job/cli.py") for name in names)


def test_user_entry_point_and_labels(description, image):
    """A numeric user, no shell before the job, one volume, and where the image comes from."""
    config = description["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["tuning-job"]
    assert not config.get("Cmd")
    assert config["WorkingDir"] == "/scratch"
    assert list(config["Volumes"]) == ["/scratch"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["version"] == VERSION
    assert labels["licenses"] == "Apache-2.0"
    assert labels["source"].startswith("https://")
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["revision"])
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment["JOB_GIT_COMMIT"] == labels["revision"]
    assert ("NVIDIA_VISIBLE_DEVICES" in environment) == image.endswith("-gpu")


def test_no_credentials(description, podman, image):
    """Neither variables nor instructions of the build hold any, nor the address of an index with its user."""
    told = json.dumps(description["Config"]) + podman.output("history", "--no-trunc", "--format", "json", image)
    assert not re.search(r"(secret|passw|token|access_key)[a-z_]*\W{0,3}[=:]|://[^/\s\"]+@", told, re.IGNORECASE)


def test_the_command_runs_at_once(podman, image):
    """`--help` and `version` answer without TensorFlow, the network or anything to write to."""
    for arguments in (["--help"], ["version"], ["plan"]):
        done = podman.run("run", "--rm", "--read-only", "--network", "none", image, *arguments)
        assert done.stdout
        assert "warning" not in done.stderr


def test_sizes(podman, image, figures, tmp_path):
    """The code is a small layer on top of a large one that it does not touch; the whole is reported."""
    sizes = layer_sizes(podman, image)
    code = next(size for size in sizes if size > 100_000)
    assert code < CODE_BYTES
    figures["unpacked, all layers"] = f"{sum(sizes) / 1e6:.0f} MB"
    figures["unpacked, by layer (code first, base last)"] = ", ".join(f"{size / 1e6:.1f}" for size in sizes if size)
    podman.run("push", "--quiet", "--compress", image, f"dir:{tmp_path / 'pushed'}")
    layers = [path.stat().st_size for path in (tmp_path / "pushed").iterdir()]
    figures["compressed (gzip), all layers"] = f"{sum(layers) / 1e6:.0f} MB"
    figures["compressed (gzip), by layer"] = ", ".join(f"{size / 1e6:.1f}" for size in sorted(layers) if size > 50_000)
    if not image.endswith("-gpu"):
        assert sum(layers) < CPU_COMPRESSED_BYTES


def test_a_change_of_the_code_leaves_the_dependencies_alone(podman, image, description, tmp_path, figures):
    """After one more line of code the last layer is another one, and nothing below it."""
    for name in BUILT_FROM:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, tmp_path / name)
    with (tmp_path / "job" / "version.py").open("a") as file:
        file.write("# changed\n")
    begun = time.monotonic()
    variant = "gpu" if image.endswith("-gpu") else "cpu"
    podman.run("build", "--network", "host", "--build-arg", f"VARIANT={variant}", "--tag", "changed", tmp_path)
    figures["rebuild after a change of the code"] = f"{time.monotonic() - begun:.0f} s"
    before = description["RootFS"]["Layers"]
    after = json.loads(podman.output("image", "inspect", "changed"))[0]["RootFS"]["Layers"]
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
