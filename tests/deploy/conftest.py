"""Manifests as kustomize renders them, once per session."""

import functools
from collections.abc import Callable

import pytest
from manifests.rendering import K8S, REPOSITORY, Rendered, render

_render_once = functools.cache(render)


@pytest.fixture(scope="session")
def rendered() -> Callable[[str], Rendered]:
    """Render a folder of k8s/; what comes back may be changed."""
    return lambda folder: _render_once(K8S / folder).copy()


@pytest.fixture(scope="session")
def dockerfile() -> str:
    """The text of the Dockerfile."""
    return (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
