"""Looks at the files of a release: nothing is missing, and the wheel works where the repository is not.

``python tests/release.py DIST`` installs the wheel of the folder into an empty environment, downloading nothing:
what ntkgap depends on is taken from the environment that runs this.
"""

import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE = """
import ntkgap as ng, torch
from pathlib import Path
from ntkgap.studies.registry import study_names
assert Path(ng.__file__).is_relative_to({prefix!r}), ng.__file__
for name in dir(ng):
    getattr(ng, name)
for name in study_names():
    for preset in ng.studies.find_study(name).presets():
        ng.studies.find_study(name).preset(preset)
train, _ = ng.load_data("digits", n_train=8, n_test=8)
assert ng.empirical_ntk(ng.MLP(64, 10, 8, 1), train.x).shape == (8, 8, 10, 10)
study = ng.OptimizationStudy.preset("smoke", widths=[8], seeds=1)
print(ng.report(ng.run(study, "runs/smoke", workers=1, progress=False), "report.html", pdf=True))
"""


def tracked() -> set[str]:
    """The files of the package in the repository, as a wheel names them."""
    out = subprocess.run(["git", "ls-files", "src/ntkgap"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.removeprefix("src/") for name in out.stdout.splitlines()}


def missing(dist: Path) -> list[str]:
    """Files of the package that the wheel or the sdist does not have."""
    wheel, sdist = next(dist.glob("*.whl")), next(dist.glob("*.tar.gz"))
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/src/")[2] for name in archive.getnames()}
    return sorted(f"{name} is not in the wheel" for name in tracked() - in_wheel) + sorted(
        f"{name} is not in the sdist" for name in tracked() - in_sdist
    )


def try_out(wheel: Path, folder: Path) -> None:
    """Install the wheel into an environment of its own, and use it from a folder outside of the repository.

    Raises:
        CalledProcessError: if a step fails.
    """
    prefix = (folder / "environment").resolve()
    venv.create(prefix, with_pip=True)
    python = prefix / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel.resolve()], check=True
    )
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    # Behind the environment's own packages: an ntkgap that is installed here in editable form does not count.
    (Path(own.stdout.strip()) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    work = folder / "work"
    work.mkdir()
    subprocess.run([prefix / "bin" / "ntkgap", "--version"], cwd=work, check=True)
    subprocess.run([python, "-c", SMOKE.format(prefix=str(prefix))], cwd=work, check=True)


if __name__ == "__main__":
    dist = Path(sys.argv[1])
    if lacking := missing(dist):
        sys.exit("\n".join(lacking))
    with tempfile.TemporaryDirectory() as folder:
        try_out(next(dist.glob("*.whl")), Path(folder))
    print("the release works")
