"""A run on two hosts whose processes are killed: torchrun starts them again, and the run ends as without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.killed_runs import check_same

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parents[1] / "support" / "elastic_run.py"
PATIENCE = 300


class Host(NamedTuple):
    """A network namespace with an address of its own."""

    namespace: str
    device: str
    address: str


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Two network namespaces that are joined by a cable."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the program `ip`")
    name = f"ml{os.getpid() % 1_000_000}"
    found = [Host(f"{name}{side}", f"{name}{side}", f"10.77.0.{i}") for i, side in enumerate("ab", 1)]
    one, other = found
    commands = [
        *(f"ip netns add {host.namespace}" for host in found),
        f"ip link add {one.device} netns {one.namespace} type veth peer name {other.device} "
        f"netns {other.namespace}",
        *(f"ip -n {host.namespace} addr add {host.address}/24 dev {host.device}" for host in found),
        *(f"ip -n {host.namespace} link set {host.device} up" for host in found),
        *(f"ip -n {host.namespace} link set lo up" for host in found),
    ]
    try:
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"network namespaces cannot be made: {done.stderr.strip()}")
        yield found
    finally:
        for host in found:
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True)


def started(host: Host, first: Host, *arguments: object, errors: Path) -> subprocess.Popen[str]:
    """torchrun on a host, with one process."""
    command = [
        "ip", "netns", "exec", host.namespace, sys.executable, "-m", "torch.distributed.run",
        "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "2", "--rdzv-backend", "c10d",
        "--rdzv-id", "elastic", "--rdzv-endpoint", f"{first.address}:29400", "--local-addr", host.address,
        "--rdzv-conf", f"is_host={int(host is first)}",  # the namespaces have one host name
        str(SCRIPT), *map(str, arguments),
    ]  # fmt: skip
    own = {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": host.device, "OMP_NUM_THREADS": "1"}
    with errors.open("w") as file:
        return subprocess.Popen(command, env={**os.environ, **own}, stdout=file, stderr=file, text=True)


@pytest.mark.slow
def test_a_run_on_two_hosts_survives_two_kills_and_ends_as_without_them(ranks, hosts, tmp_path):
    ranks.run(2, "support.elastic_run:trained", tmp_path / "whole")
    errors = [tmp_path / f"errors-{i}" for i in range(2)]
    jobs = [
        started(host, hosts[0], tmp_path / "killed", "1:6", "0:17", errors=errors[i])
        for i, host in enumerate(hosts)
    ]
    try:
        codes = [job.wait(PATIENCE) for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    assert codes == [0, 0], "\n".join(path.read_text()[-3000:] for path in errors)
    assert (tmp_path / "killed-1:6").exists() and (tmp_path / "killed-0:17").exists()
    said = "".join(path.read_text() for path in errors)
    assert said.count("has ended or no longer answers") == 2
    check_same(tmp_path / "whole", tmp_path / "killed")
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    whole, killed = (
        json.loads((tmp_path / run / "recipe.json").read_text())["finished"]["sent_mb_per_step"]
        for run in ("whole", "killed")
    )
    assert killed == pytest.approx(whole, rel=0.3), "counted are the steps since the last start"
