"""The pod that the chart describes, run as a process of this machine."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import yaml

from tests.daemon.process import PATIENCE, bare_environment, request
from tests.peers.process import free_port

if TYPE_CHECKING:
    from tests.helm.engine import Engine, Object


async def answered(url: str) -> str:
    """The page, as soon as it answers with 200."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                status, body = await request("GET", url)
            except aiohttp.ClientConnectionError:
                status, body = 0, ""
            if status == 200:
                return body
            await asyncio.sleep(0.02)


async def test_what_is_rendered_runs(helm: Engine, default: Object, file: Path, tmp_path: Path) -> None:
    """The rendered command with the rendered file answers every probe, stores in the volume and stops in the time given."""
    content = yaml.safe_load(file.read_text("utf-8"))
    default["config"] = {key: value for key, value in content.items() if key not in {"store", "web"}}
    rendered = helm.render(default)
    volumes = {mount["name"]: mount["mountPath"] for mount in rendered.container["volumeMounts"]}
    (port,) = rendered.container["ports"]
    free, data = free_port(), tmp_path / "volume"
    data.mkdir()
    text = rendered.configuration.replace(f":{port['containerPort']}", f":{free}").replace(volumes["data"], str(data))
    file.write_text(text, "utf-8")
    arguments = [
        str(file) if argument.startswith(f"{volumes['config']}/") else argument
        for argument in rendered.container["args"]
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        env=bare_environment(),
    )
    try:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = rendered.container[probe]["httpGet"]
            assert port["name"] == asked["port"]
            assert await answered(f"http://127.0.0.1:{free}{asked['path']}") in {"ok\n", "ready\n"}
        assert (data / "state.db").is_file()
        assert {"state.db"} == {one.name.partition("-")[0] for one in data.iterdir()}
        process.terminate()
        async with asyncio.timeout(rendered.pod["spec"]["terminationGracePeriodSeconds"]):
            assert 0 == await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
