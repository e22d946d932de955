"""A real Prometheus scrapes, and promtool finds faults."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.peers.prometheus import Prometheus, Promtool

GOOD = """\
# HELP canary_songs_total Songs sung.
# TYPE canary_songs_total counter
canary_songs_total{bird="a"} 3
"""


class Exposition(BaseHTTPRequestHandler):
    """Answers every request with GOOD."""

    def do_GET(self) -> None:
        """One page of metrics."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(GOOD.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server uses
        """Silence."""


@pytest.fixture
def exposition() -> Iterator[str]:
    """The address of a page of metrics."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Exposition) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
        server.shutdown()
        thread.join()


def test_a_page_is_scraped(prometheus: Callable[[str], Prometheus], exposition: str) -> None:
    """A metric on a page becomes a time series of Prometheus."""
    server = prometheus(exposition)
    found = server.wait_for('canary_songs_total{bird="a"}')
    assert [3.0] == [sample.value for sample in found]
    assert [1.0] == [sample.value for sample in server.query("up")]
    assert server.job == found[0].labels["job"]


def test_what_is_not_there_is_said(prometheus: Callable[[str], Prometheus], exposition: str) -> None:
    """Waiting for a series that never comes ends with the state of the scraped target."""
    with pytest.raises(TimeoutError, match="absent_total"):
        prometheus(exposition).wait_for("absent_total", seconds=0.0)


def test_promtool_accepts_a_clean_page(promtool: Promtool) -> None:
    """A page without faults gets no complaint."""
    assert [] == promtool.check_metrics(GOOD)


def test_promtool_complains(promtool: Promtool) -> None:
    """A counter without _total is a fault."""
    complaints = promtool.check_metrics(GOOD.replace("_total", ""))
    assert ["canary_songs"] == [line.split()[0] for line in complaints]
