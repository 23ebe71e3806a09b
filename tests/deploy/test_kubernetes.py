"""Manifests: valid, locked down, and of this version."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syncer import __version__
from syncer.config.settings import load
from tests.deploy.tools import DEPLOY, check_command, documents, run, tool, yaml

KUBERNETES = DEPLOY / "kubernetes"
KUSTOMIZATIONS = ("serve", "worker", "cronjob", "upgrade")
MANIFESTS = sorted(path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml")


@pytest.fixture(scope="session", autouse=True)
def _models() -> None:
    """Kubernetes' own schema as dataclasses; of the client that they import, nothing is used."""
    stub = types.ModuleType("lightkube.core.schema")
    stub.__dict__.update(DictMixin=object, dataclass=dataclasses.dataclass, field=dataclasses.field)
    sys.modules.setdefault("lightkube.core", types.ModuleType("lightkube.core"))
    sys.modules.setdefault("lightkube.core.schema", stub)


def pods() -> Iterator[tuple[str, Any]]:
    """The specification of everything that runs a pod, by its folder."""
    for path in MANIFESTS:
        for document in yaml(path):
            spec = document.get("spec", {})
            spec = spec.get("jobTemplate", {}).get("spec", spec)
            if "template" in spec:
                yield path.parent.name, spec["template"]["spec"]


PODS = dict(pods())


def containers(pod: Any) -> list[Any]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(KUBERNETES)))
def test_a_manifest_is_what_kubernetes_reads(path: Path) -> None:
    """Each field exists and has a value of its type: what Kubernetes keeps is what is written."""
    for document in yaml(path):
        group, _, version = document["apiVersion"].rpartition("/")
        module = importlib.import_module(f"lightkube.models.{group or 'core'}_{version}")
        kept = msgspec.to_builtins(msgspec.convert(document, getattr(module, document["kind"])))
        assert document == _without_nothing(kept)


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nothing(v) for k, v in value.items() if v is not None}
    return [_without_nothing(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_a_pod_passes_the_restricted_standard(name: str) -> None:
    """Kubernetes' Pod Security Standard `restricted`, and no token, no environment of strangers."""
    pod = PODS[name]
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]  # a Service named syncer would set SYNCER_PORT and more
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    assert {"configMap", "secret", "emptyDir"} >= {k for v in pod["volumes"] for k in v} - {"name"}
    for container in containers(pod):
        allowed = container["securityContext"]
        assert not allowed["allowPrivilegeEscalation"]
        assert allowed["readOnlyRootFilesystem"]
        assert ["ALL"] == allowed["capabilities"]["drop"]
        assert {"cpu", "memory"} == set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_a_container_finds_what_its_variables_name(name: str) -> None:
    """Mounts name volumes, probes name ports, credentials are where the program looks."""
    pod = PODS[name]
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in containers(pod):
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert set(mounts.values()) <= volumes
        assert "tmp" == mounts["/tmp"]  # noqa: S108  (of the container)
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        assert "credentials" == mounts[environment["CREDENTIALS_DIRECTORY"]]
        ports = {port["name"] for port in container.get("ports", [])}
        probes = [container[probe] for probe in container if probe.endswith("Probe")]
        assert {probe["httpGet"]["port"] for probe in probes} <= ports
        check_command(*container["args"])
    if name in {"serve", "worker"}:
        assert ("/livez", "/readyz") == tuple(
            pod["containers"][0][f"{probe}Probe"]["httpGet"]["path"]
            for probe in ("liveness", "readiness")
        )
        run_timeout = load(environment={}).account.run_timeout if name == "worker" else 0
        assert pod["terminationGracePeriodSeconds"] > run_timeout + 60


@pytest.mark.parametrize("name", ["serve", "worker"])
def test_what_selects_pods_selects_those_of_its_own_deployment(name: str) -> None:
    """Services and budgets: neither none, nor the workers with the daemon."""
    files = [yaml(path)[0] for path in (KUBERNETES / name).glob("*.yaml")]
    selectors = {d["kind"]: d["spec"]["selector"] for d in files if "selector" in d.get("spec", {})}
    assert {"Deployment", "Service"} <= set(selectors)
    (deployment,) = (d["spec"] for d in files if d["kind"] == "Deployment")
    labels = deployment["template"]["metadata"]["labels"]
    assert name == labels["app.kubernetes.io/component"]
    for selector in selectors.values():
        assert labels == selector.get("matchLabels", selector)


def test_the_secrets_are_named_as_the_pods_name_them() -> None:
    named = {
        v["secret"]["secretName"] for pod in PODS.values() for v in pod["volumes"] if "secret" in v
    }
    secrets = {
        secret["metadata"]["name"]: secret for secret in yaml(KUBERNETES / "secret.example.yaml")
    }
    assert named == set(secrets)
    keys = {"zenlayer_access_key_id", "zenlayer_access_key_secret"}
    assert keys == set(secrets["syncer"]["stringData"]) - set(secrets["syncer-owner"]["stringData"])
    for name, secret in secrets.items():  # the certificate lies where the URL says
        url = secret["stringData"]["syncer_database_url"]
        (file,) = re.findall("[?]sslmode=verify-full&sslrootcert=(.*)$", url)
        mounts = {
            mount["mountPath"]
            for pod in PODS.values()
            for volume in pod["volumes"]
            if volume.get("secret", {}).get("secretName") == name
            for container in containers(pod)
            for mount in container["volumeMounts"]
            if mount["name"] == volume["name"]
        }
        assert {str(Path(file).parent)} == mounts
        assert Path(file).name in secret["stringData"]


def test_the_overlay_changes_what_is_a_user_s() -> None:
    """All of it goes into the namespace, with another image, other settings, another limit."""
    (namespace,) = yaml(KUBERNETES / "namespace/namespace.yaml")
    kubectl = tool("kubectl", "kubectl")
    rendered = documents(run(kubectl, "kustomize", KUBERNETES / "example"))
    assert {namespace["metadata"]["name"]} == {each["metadata"]["namespace"] for each in rendered}
    found = {document["kind"]: document for document in rendered}
    assert {"ConfigMap", "Deployment", "Service"} == set(found)
    settings = (KUBERNETES / "example/syncer.toml").read_text()
    assert {"syncer.toml": settings} == found["ConfigMap"]["data"]
    (container,) = containers(found["Deployment"]["spec"]["template"]["spec"])
    assert f"registry.internal.example/mirror/syncer:{__version__}" == container["image"]
    assert "1Gi" == container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_kustomize_puts_it_together(name: str) -> None:
    """The image is of this version, and a change of the settings makes new pods."""
    (kustomization,) = yaml(KUBERNETES / name / "kustomization.yaml")
    assert [__version__] == [image["newTag"] for image in kustomization["images"]]
    kubectl = tool("kubectl", "kubectl")
    rendered = run(kubectl, "kustomize", KUBERNETES / name)
    found = {document["kind"]: document for document in documents(rendered)}
    if name != "upgrade":
        settings = found["ConfigMap"]["metadata"]["name"]
        assert settings.startswith("syncer-")
        assert f"name: {settings}\n" in rendered.partition("volumes:")[2]
    assert f"image: registry.example/syncer:{__version__}\n" in rendered
