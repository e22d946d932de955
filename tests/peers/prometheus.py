"""A real Prometheus that scrapes one address every second, and its promtool."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers.available import program
from tests.peers.process import HOST, POLL_SECONDS, accepts, free_port, running, temporary_home

PACKAGE = "prometheus"  # Debian's package brings promtool too
_WAIT_SECONDS = 15.0
_ANSWER_SECONDS = 5.0

# A machine's HTTP proxy has no business on loopback.
_BROWSER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Sample:
    """One time series of an answer and its value now."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus; `job` is the label of everything it scrapes."""

    host: str
    port: int
    job: str
    log_file: Path

    @property
    def url(self) -> str:
        """The base address of its HTTP API."""
        return f"http://{self.host}:{self.port}"

    def query(self, promql: str) -> list[Sample]:
        """What an instant query gives now; blocks. HTTPError when the query is wrong."""
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': promql})}"
        with _BROWSER.open(address, timeout=_ANSWER_SECONDS) as answer:
            found = json.load(answer)["data"]["result"]
        return [Sample(series["metric"], float(series["value"][1])) for series in found]

    def wait_for(self, promql: str, seconds: float = _WAIT_SECONDS) -> list[Sample]:
        """The same, asked until it gives something; TimeoutError with the state of the target after `seconds`.

        Blocks: from a coroutine, call it in a thread.
        """
        deadline = time.monotonic() + seconds
        while not (found := self.query(promql)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing for {promql!r} in {seconds} s; up: {self.query('up')}")
            time.sleep(POLL_SECONDS)
        return found


@contextmanager
def running_prometheus(scraped_url: str, job: str = "mailcanary") -> Iterator[Prometheus]:
    """A Prometheus that scrapes `scraped_url` (http or https, with its path) every second."""
    binary = program("prometheus", PACKAGE)
    target = urllib.parse.urlsplit(scraped_url)
    with temporary_home("prometheus") as home:
        server = Prometheus(HOST, free_port(), job, home / "log")
        configuration = home / "prometheus.yml"
        # JSON is YAML, and needs no care for quotes.
        configuration.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                    "scrape_configs": [
                        {
                            "job_name": job,
                            "scheme": target.scheme,
                            "metrics_path": target.path or "/",
                            "static_configs": [{"targets": [target.netloc]}],
                        }
                    ],
                }
            )
        )
        with running(
            [
                binary,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address={HOST}:{server.port}",
            ],
            log=server.log_file,
            ready=lambda: accepts(server.port) and _is_ready(server),
        ):
            yield server


@dataclass(frozen=True, slots=True)
class Promtool:
    """Prometheus' own linter."""

    binary: Path

    def check_metrics(self, exposition: str) -> list[str]:
        """What `promtool check metrics` finds in a text of metrics: one line for each fault, none when it is clean."""
        done = subprocess.run(
            [self.binary, "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
        )
        complaints = (done.stdout + done.stderr).splitlines()
        if done.returncode and not complaints:
            return [f"promtool ended with {done.returncode} and said nothing"]
        return complaints


def promtool() -> Promtool:
    """PeerMissingError when Prometheus is not installed."""
    return Promtool(program("promtool", PACKAGE))


def _is_ready(server: Prometheus) -> bool:
    try:
        with _BROWSER.open(f"{server.url}/-/ready", timeout=_ANSWER_SECONDS):
            return True
    except OSError:  # urllib's errors among them: 503 while it starts
        return False
