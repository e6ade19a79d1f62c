"""An image for containers with the static program and nothing else, as an OCI archive, written without Docker.

The layout is that of https://github.com/opencontainers/image-spec; `manifest.json` is for older versions of `docker load`.
"""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import archive
import build
import contents
import execute
import pack
from pack import Entry
from release import Failure, have, run, say
from targets import TARGETS

ARCHITECTURES = {"x86_64": {"architecture": "amd64"}, "aarch64": {"architecture": "arm64", "variant": "v8"}}
# Nobody, in the distroless images as here.
USER = 65532
OCI = "application/vnd.oci.image"


def name(release, triple):
    return release.name(triple, "oci.tar")


def config(release):
    """What `docker run` takes from the image. `tools/release/Dockerfile` says the same."""
    return {
        "User": f"{USER}:{USER}",
        "ExposedPorts": {"8080/tcp": {}},
        "Env": ["HOME=/data", "CARAT_CACHE=/data/carat", "HF_HOME=/data/huggingface"],
        "Entrypoint": [f"/{release.program}"],
        "Cmd": ["--help"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/models",
        "Labels": {
            "org.opencontainers.image.title": release.program,
            "org.opencontainers.image.description": release.description,
            "org.opencontainers.image.version": release.version,
            "org.opencontainers.image.licenses": release.licence,
            "org.opencontainers.image.source": release.repository,
        },
    }


def layer(release, target):
    return {
        release.program: Entry(build.stripped(release, target), 0o755),
        "data": Entry(None, 0o755, USER),
        "models": Entry(None, 0o755),
        "tmp": Entry(None, 0o1777),
        **pack.under("licenses", {**contents.documents(), **contents.notices(release, target)}),
    }


def _json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def files(release, triple):
    return [name(release, triple)]


def make(release, triple):
    target, blobs = TARGETS[triple], {}

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = Entry(data)
        return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    plain = pack.tar(layer(release, target), release.epoch)
    packed = blob(pack.gz(plain), "layer.v1.tar+gzip")
    platform = {"os": "linux", **ARCHITECTURES[target.arch]}
    day = datetime.fromtimestamp(release.epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    settings = blob(
        _json(
            {
                "created": day,
                **platform,
                "config": config(release),
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
                "history": [{"created": day, "created_by": "tools/release/oci.py"}],
            }
        ),
        "config.v1+json",
    )
    kind = "manifest.v1+json"
    image = {"schemaVersion": 2, "mediaType": f"{OCI}.{kind}", "config": settings, "layers": [packed]}
    manifest = blob(_json(image), kind)
    tag = f"{release.program}:{release.version}"
    named = {"org.opencontainers.image.ref.name": release.version, "io.containerd.image.name": f"docker.io/library/{tag}"}
    index = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.index.v1+json",
        "manifests": [{**manifest, "platform": platform, "annotations": named}],
    }
    path = lambda part: "blobs/sha256/" + part["digest"].removeprefix("sha256:")
    old = [{"Config": path(settings), "RepoTags": [tag], "Layers": [path(packed)]}]
    tree = {
        "oci-layout": Entry(_json({"imageLayoutVersion": "1.0.0"})),
        "index.json": Entry(_json(index)),
        "manifest.json": Entry(_json(old)),
        **blobs,
    }
    return {name(release, triple): pack.tar(tree, release.epoch)}


def read(path):
    """The image's configuration and its layer, with every digest and size compared."""
    with tarfile.open(path) as layout:

        def get(part):
            data = layout.extractfile("blobs/sha256/" + part["digest"].removeprefix("sha256:")).read()
            found = "sha256:" + hashlib.sha256(data).hexdigest()
            if (found, len(data)) != (part["digest"], part["size"]):
                raise Failure(f"{path.name}: a blob of {len(data)} bytes has {found}, expected {part}")
            return data

        index = json.load(layout.extractfile("index.json"))
        manifest = json.loads(get(index["manifests"][0]))
        return json.loads(get(manifest["config"])), get(manifest["layers"][0])


def check(release, triple):
    path, target = release.out / name(release, triple), TARGETS[triple]
    settings, packed = read(path)
    if have("skopeo"):
        seen = json.loads(run("skopeo", "inspect", f"oci-archive:{path}"))
        if (seen["Architecture"], seen["Os"]) != (settings["architecture"], "linux"):
            raise Failure(f"{path.name}: skopeo reads {seen['Architecture']} and {seen['Os']}")
        say(f"skopeo reads {path.name}")
    else:
        release.not_executed(f"{path.name} read by skopeo", "skopeo is not here")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        layer_file = Path(folder) / "layer.tar.gz"
        layer_file.write_bytes(packed)
        archive.unpack_tar(layer_file, root)
        front, why = execute.runner(release, target)
        if front is None:
            return release.not_executed(path.name, why)
        if os.geteuid() != 0:
            return release.not_executed(path.name, "chroot needs root")
        # An emulator comes along; so do the libraries of a program that is not static, which only the quick one is.
        program = root / settings["config"]["Entrypoint"][0].lstrip("/")
        if front:
            front = (f"/{Path(front[0]).name}", *front[1:])
            shutil.copy(shutil.which(Path(front[0]).name), root)
        for binary in [root / front[0].lstrip("/")] if front else [program]:
            bring_libraries(binary, root)
        env = dict(entry.split("=", 1) for entry in settings["config"]["Env"])
        user = settings["config"]["User"]
        os.chown(root / "data", USER, USER)

        def call(*words):
            inside = [*front, *settings["config"]["Entrypoint"], *words]
            return run("chroot", f"--userspec={user}", root, *inside, env=env)

        seen = lambda file: "/" + str(Path(file).relative_to(root))
        shutil.copytree(contents.MODEL, root / "models" / contents.MODEL.name)
        # A conversion under an emulator takes minutes; that of the archive, which has the same program, is enough.
        checkpoint = None if front else f"/models/{contents.MODEL.name}"
        execute.same(release, call, root / "data", path.name, checkpoint, seen)


def bring_libraries(program, root):
    """Copies what a program is linked with; nothing for a static one."""
    try:
        listed = run("ldd", program)
    except Failure:
        return
    for word in listed.split():
        if word.startswith("/") and Path(word).is_file() and not Path(word).is_relative_to(root):
            place = root / word.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, place)
