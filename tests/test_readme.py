"""Every command and code block of README and docs runs; what takes minutes is run by `.ci/run`, and named there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo.calls import Service
from cli.demo.small import SmallLoop
from features.kernel.processes import answers, free_port

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
REAL = "../shared/data"
GATE = (ROOT / ".ci" / "run").read_text()
LONG = ("make demo", "make test", "kairos demo --data")
"""Commands that `.ci/run` runs."""
SCRIPTS = str(Path(sys.executable).parent)
STAYS = "kairos up"
"""The command that runs until Ctrl-C: the other commands are run against it."""


def blocks(language: str, pages: list[Path]) -> list[str]:
    return [
        each for page in pages for each in re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)
    ]


def is_long(block: str) -> bool:
    return any(each in block for each in LONG)


def parameters(found: list[str]) -> list[object]:
    absent = pytest.mark.skipif(not (ROOT / REAL).exists(), reason=f"{REAL} is not there")
    marks = {True: [pytest.mark.real_data, absent], False: []}
    return [pytest.param(each, marks=marks[REAL in each], id=each.strip().splitlines()[0][:60]) for each in found]


SHORT = [each for each in blocks("sh", PAGES) if not is_long(each) and STAYS not in each]


@pytest.fixture(scope="module")
def up(loop: SmallLoop) -> Iterator[dict[str, str]]:
    """`kairos up` as the README starts it, on a free port; the environment of the commands around it."""
    port = str(free_port())
    environment = os.environ | loop.environment | {"KAIROS_PORT": port}
    process = subprocess.Popen([sys.executable, "-m", "kairos", "up"], env=environment, cwd=ROOT)
    deadline = time.monotonic() + 90
    while not _ready(port):
        assert process.poll() is None and time.monotonic() < deadline, "kairos up did not become ready"
        time.sleep(0.2)
    # the demo, whose home the README speaks of, has scored everyone: without that there is no drift to report
    everyone = [{"customer_id": each} for each in loop.world.audience]
    with Service(f"http://127.0.0.1:{port}") as service:
        service.scores("propensity", everyone)
    yield environment
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not _ready(port), "Ctrl-C left the service running"


def _ready(port: str) -> bool:
    return answers(f"http://127.0.0.1:{port}/readyz")


def test_what_the_readme_runs_long_is_run_by_the_gate() -> None:
    for block in filter(is_long, blocks("sh", PAGES)):
        for line in filter(None, block.splitlines()):
            command = line.split("#")[0].strip()
            named = command.replace("../shared/data/", '"$data/').replace(" --recipe", '" --recipe')
            assert command in GATE or named in GATE, f".ci/run does not run: {command}"


@pytest.mark.parametrize("block", parameters(SHORT))
def test_commands(block: str, up: dict[str, str], tmp_path: Path) -> None:
    script = block.replace("127.0.0.1:8321", f"127.0.0.1:{up['KAIROS_PORT']}").replace("curl -s", "curl -sS --fail")
    script = re.sub(r"(\$PWD/)?\.venv/bin", SCRIPTS, script)
    if "kairos import" in script:  # a home of its own: the market's people do not shop at a real shop
        up = up | {"KAIROS_HOME": str(tmp_path)}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=up, cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert run.stdout.strip(), "the commands print nothing"


@pytest.mark.parametrize("block", parameters(blocks("python", PAGES)))
def test_code(block: str) -> None:
    run = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip()


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} points to {target}, which is not there"
