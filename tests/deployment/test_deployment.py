"""Checks of the examples for containers, without running them: `python3 -m unittest tests/deployment/test_deployment.py`.

`./image` runs them. Here: manifests by Kubernetes' own schemas, compose files by docker-compose, the files within by `host` and MIT krb5,
and what each container is promised not to be able to do. DATAKIT_HOST names the binary.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "examples/compose"
KUBERNETES = ROOT / "examples/kubernetes"
HOST = os.environ["DATAKIT_HOST"]
KUBERNETES_VERSION = "1.31"


def run(*command: str | pathlib.Path, cwd: pathlib.Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def manifests() -> list[dict]:
    return [document for file in sorted(KUBERNETES.glob("*.yaml")) for document in yaml.safe_load_all(file.read_text())]


def only(kind: str) -> dict:
    (found,) = (manifest for manifest in manifests() if manifest["kind"] == kind)
    return found


def pods() -> dict[str, dict]:
    return {"Job": only("Job")["spec"]["template"], "CronJob": only("CronJob")["spec"]["jobTemplate"]["spec"]["template"]}


def containers(pod: dict) -> list[dict]:
    return pod["spec"]["initContainers"] + pod["spec"]["containers"]


def config_maps() -> dict[str, dict[str, str]]:
    return {manifest["metadata"]["name"]: manifest["data"] for manifest in manifests() if manifest["kind"] == "ConfigMap"}


def says_of(warehouse: str, more: dict[str, str]) -> subprocess.CompletedProcess:
    """What `host validate` says to a warehouse file, with the secrets it names present."""
    with tempfile.TemporaryDirectory() as folder:
        secret = pathlib.Path(folder, "secret")
        secret.write_text("x")
        secret.chmod(0o600)
        for name, text in more.items():
            pathlib.Path(folder, name).write_text(text)
        text = re.sub(r'"/run/secrets/[^"]*"', f'"{secret}"', warehouse)
        pathlib.Path(folder, "warehouse.toml").write_text(text)
        return run(HOST, "validate", cwd=pathlib.Path(folder), HOME=folder)


class Manifests(unittest.TestCase):
    def test_kubernetes_takes_them(self):
        tool = pathlib.Path(sys.executable).parent / "kubernetes-validate"
        result = run(tool, "-k", KUBERNETES_VERSION, "--strict", *sorted(KUBERNETES.glob("*.yaml")))
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_a_cron_job_makes_the_jobs_of_the_job(self):
        job, cron_job = only("Job")["spec"], only("CronJob")["spec"]["jobTemplate"]["spec"]
        self.assertEqual(job, cron_job)

    def test_pods_pass_the_strictest_standard_and_have_bounds(self):
        for kind, pod in pods().items():
            spec = pod["spec"]
            self.assertFalse(spec["automountServiceAccountToken"], kind)
            self.assertTrue(spec["securityContext"]["runAsNonRoot"], kind)
            self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}, kind)
            for container in containers(pod):
                at = f"{kind} {container['name']}"
                context = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
                self.assertEqual(container["securityContext"], context, at)
                self.assertIn("memory", container["resources"]["limits"], at)
                self.assertLessEqual({"cpu", "memory"}, container["resources"]["requests"].keys(), at)

    def test_the_sidecar_alone_has_the_keytab_and_writes_the_tickets_to_memory(self):
        for kind, pod in pods().items():
            sidecar, host = containers(pod)
            volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
            mounts = {c["name"]: {m["name"]: m for m in c["volumeMounts"]} for c in (sidecar, host)}
            self.assertEqual(sidecar["restartPolicy"], "Always", kind)
            self.assertIn("startupProbe", sidecar, kind)
            self.assertIn("keytab", mounts["tickets"], kind)
            self.assertNotIn("keytab", mounts["host"], kind)
            self.assertEqual(volumes["tickets"]["emptyDir"]["medium"], "Memory", kind)
            self.assertTrue(mounts["host"]["tickets"]["readOnly"], kind)
            # One says where it writes, the other where it reads.
            (cache,) = (a.removeprefix("--cache=") for a in sidecar["args"] if a.startswith("--cache="))
            environment = {e["name"]: e.get("value") for e in host["env"]}
            self.assertEqual(environment["KRB5CCNAME"], f"FILE:{cache}", kind)
            self.assertTrue(cache.startswith(mounts["tickets"]["tickets"]["mountPath"] + "/"), kind)

    def test_what_is_mounted_is_there(self):
        for kind, pod in pods().items():
            volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
            used = {m["name"] for c in containers(pod) for m in c["volumeMounts"]}
            self.assertEqual(used, volumes, kind)
            for container in containers(pod):
                ports = {port["name"] for port in container.get("ports", [])}
                probes = [container[p] for p in ("startupProbe", "livenessProbe", "readinessProbe") if p in container]
                self.assertLessEqual({p["httpGet"]["port"] for p in probes}, ports, f"{kind} {container['name']}")

    def test_the_network_policy_is_about_these_pods(self):
        policy = only("NetworkPolicy")["spec"]
        self.assertEqual(policy["ingress"], [])
        for kind, pod in pods().items():
            self.assertLessEqual(policy["podSelector"]["matchLabels"].items(), pod["metadata"]["labels"].items(), kind)
        ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
        self.assertEqual(ports, {53, 88, 443, 1433, 5432})
        self.assertTrue(all(rule["to"] for rule in policy["egress"]), "a rule for everywhere")

    def test_all_is_in_one_namespace_and_of_one_image(self):
        self.assertEqual({m["metadata"].get("namespace", m["metadata"]["name"]) for m in manifests()}, {"datakit"})
        self.assertEqual(len({c["image"] for pod in pods().values() for c in containers(pod)}), 1)


class Compose(unittest.TestCase):
    def config(self, *files: str) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                pathlib.Path(folder, file).write_text((COMPOSE / file).read_text())
            arguments = [argument for file in files for argument in ("--file", file)]
            # Debian's, which knows least of the format.
            result = run("/usr/bin/docker-compose", *arguments, "--profile=lake", "config", cwd=pathlib.Path(folder))
        self.assertEqual(result.returncode, 0, result.stderr)
        return yaml.safe_load(result.stdout)

    def test_docker_compose_takes_the_files(self):
        self.assertEqual(self.config("compose.yaml")["services"].keys(), {"tickets", "host", "lake", "warehouse"})
        both = self.config("compose.yaml", "compose.try.yaml")["services"]
        self.assertEqual(both.keys(), {"tickets", "host", "lake", "warehouse", "kdc", "sqlserver", "registry"})

    def test_ours_are_contained_and_have_bounds(self):
        services = self.config("compose.yaml")["services"]
        for name in ("tickets", "host", "lake"):
            self.assertTrue(services[name]["read_only"], name)
            self.assertEqual(services[name]["cap_drop"], ["ALL"], name)
            self.assertEqual(services[name]["security_opt"], ["no-new-privileges:true"], name)
            self.assertIn("mem_limit", services[name])

    def test_the_sidecar_alone_has_the_keytab(self):
        secrets = {
            name: {secret["source"] if isinstance(secret, dict) else secret for secret in service.get("secrets", [])}
            for name, service in self.config("compose.yaml")["services"].items()
        }
        self.assertEqual({name for name, of in secrets.items() if "svc-etl.keytab" in of}, {"tickets"})


class Contents(unittest.TestCase):
    def test_host_takes_the_warehouse_files(self):
        kubernetes = config_maps()["warehouse"]
        lock = {"datakits.lock": kubernetes["datakits.lock"]}
        for name, text, more in (("kubernetes", kubernetes["warehouse.toml"], lock), ("compose", (COMPOSE / "config/warehouse.toml").read_text(), {})):
            result = says_of(text, more)
            self.assertEqual(result.returncode, 0, f"{name}: {result.stderr}")
            # That it is read at all.
            self.assertNotEqual(says_of(text.replace("[connections.erp]", "[connections.other]"), more).returncode, 0, name)

    def test_the_lock_file_pins_what_the_warehouse_file_names(self):
        data = config_maps()["warehouse"]
        pins = {f"{pin['name']}@{pin['version']}" for pin in tomllib.loads(data["datakits.lock"])["datakit"]}
        self.assertEqual(pins, {ingest["datakit"] for ingest in tomllib.loads(data["warehouse.toml"])["ingest"]})

    def test_host_takes_the_arguments(self):
        commands = {f"{kind} {c['name']}": c["args"] for kind, pod in pods().items() for c in containers(pod)}
        services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
        commands |= {f"compose {name}": services[name]["command"] for name in ("tickets", "host", "lake")}
        with tempfile.TemporaryDirectory() as folder:
            for name, arguments in commands.items():
                # It finds nothing to work with there, and says so; only what it cannot parse is DK-CLI-001.
                arguments = ["--health=127.0.0.1:0" if a.startswith("--health=") else a for a in arguments]
                # As the kubelet puts it there from `env`: the name of the job.
                arguments = [a.replace("$(RUN_ID)", "bronze-29384640") for a in arguments]
                result = run(HOST, *arguments, cwd=pathlib.Path(folder), HOME=folder)
                self.assertEqual(result.returncode, 1, f"{name}: {result.stderr}")
                self.assertIn("DK-", result.stderr, name)
                self.assertNotIn("DK-CLI-001", result.stderr, name)

    def test_mit_krb5_reads_krb5_conf(self):
        for text in (config_maps()["krb5"]["krb5.conf"], (COMPOSE / "krb5.conf").read_text()):
            # Everything but the way to the KDCs, which are nowhere.
            text = re.sub(r"kdc = .*", "kdc = 127.0.0.1:1", text)
            with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
                file.write(text)
                file.flush()
                result = run("kinit", "nobody", KRB5_CONFIG=file.name, LC_ALL="C")
            self.assertIn("Cannot contact any KDC for realm 'CORP.EXAMPLE'", result.stderr)


class Image(unittest.TestCase):
    def test_its_label_says_our_version(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        self.assertIn(f"\nARG VERSION={version}\n", (ROOT / "Dockerfile").read_text())
        for name in ("examples/compose/compose.yaml", "examples/kubernetes/job.yaml"):
            self.assertIn(f"host:{version}", (ROOT / name).read_text(), name)

    def test_nothing_but_sources_goes_into_the_build(self):
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        self.assertIn("*", lines)
        members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
        sources = [pathlib.PurePosixPath(line[1:]) for line in lines if line.startswith("!")]
        left_out = [m for m in members if not any(pathlib.PurePosixPath(m).is_relative_to(source) for source in sources)]
        self.assertEqual(left_out, [])


if __name__ == "__main__":
    unittest.main()
