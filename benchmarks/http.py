"""The HTTP interface: CPU of the server per check, next to an empty endpoint; latency at 200 requests/s.

The server is a process of its own on the loopback. Budgets: 1 ms CPU a check; p99 under 20 ms at
200 requests/s on two cores, client included.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

from fastapi import Request
from starlette.responses import Response

from api.answers import answer, json_body
from api.app import create_app
from api.cli.serve import listen, make_server
from api.settings import load_settings
from benchmarks.rules import payloads
from qc_rules.reference import Reference

REQUESTS = 2000
WARM_UP = 200
ROUNDS = 3
RATE = 200
SECONDS = 10
CLIENTS = 8
HEADERS = {"content-type": "application/json"}
TICKS = os.sysconf("SC_CLK_TCK")


def serve(descriptor: int) -> None:
    """The child: the application and, beside it, an endpoint that only takes the body."""
    application = create_app(load_settings())

    @application.post("/empty")
    async def empty(request: Request) -> Response:
        await json_body(request)
        return answer({})

    make_server(application).run(sockets=[socket.socket(fileno=descriptor)])


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """A running server: its process id and port."""
    with listen("127.0.0.1", 0) as listener:
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "benchmarks.http", str(descriptor)]
        child = subprocess.Popen(command, pass_fds=[descriptor])
        try:
            port = listener.getsockname()[1]
            started = time.perf_counter()
            ask = client(port)
            ask("GET", "/healthz", b"")
            print(f"启动到可用 {time.perf_counter() - started:.2f} 秒")
            yield child.pid, port
        finally:
            child.terminate()
            child.wait(timeout=20)


def client(port: int) -> Callable[[str, str, bytes], None]:
    """Sends one request after the other on one connection, and wants 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(method: str, path: str, content: bytes) -> None:
        connection.request(method, path, content, HEADERS)
        received = connection.getresponse()
        received.read()
        if received.status != 200:
            raise RuntimeError(f"{path}: {received.status}")

    return ask


def cpu_seconds(process: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(process: int) -> float:
    """The largest resident size of a process so far."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def cpu_per_request(process: int, port: int, path: str, lists: Sequence[bytes]) -> float:
    """The least CPU of some rounds, in seconds."""
    ask = client(port)
    for content in islice(cycle(lists), WARM_UP):
        ask("POST", path, content)
    rounds = []
    for _ in range(ROUNDS):
        before = cpu_seconds(process)
        for content in islice(cycle(lists), REQUESTS):
            ask("POST", path, content)
        rounds.append((cpu_seconds(process) - before) / REQUESTS)
    return min(rounds)


def latencies(port: int, path: str, lists: Sequence[bytes]) -> list[float]:
    """Seconds from when each request was due until it was answered, at a fixed rate, ascending."""
    taken: list[float] = []
    start = time.perf_counter() + 0.2

    def run(first: int) -> None:
        ask = client(port)
        for number in range(first, RATE * SECONDS, CLIENTS):
            due = start + number / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            ask("POST", path, lists[number % len(lists)])
            taken.append(time.perf_counter() - due)

    threads = [threading.Thread(target=run, args=(first,)) for first in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(taken)


def main() -> None:
    lists = payloads(Reference.load(load_settings().store()))
    size = sum(map(len, lists)) // len(lists)
    with server() as (process, port):
        empty = cpu_per_request(process, port, "/empty", lists)
        check = cpu_per_request(process, port, "/api/v1/check", lists)
        print(f"清单平均 {size} 字节，各不相同；每个请求的服务器 CPU（{REQUESTS} 次，{ROUNDS} 轮取最小）")
        print(f"  空接口  {empty * 1e6:7.0f} µs")
        print(f"  检查    {check * 1e6:7.0f} µs  = {check / empty:.2f} 倍，预算 1000 µs")
        taken = latencies(port, "/api/v1/check", lists)
        p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
        print(f"每秒 {RATE} 次：中位 {p50 * 1000:.1f} ms，p99 {p99 * 1000:.1f} ms，预算 20 ms")
        print(f"内存最大 {memory_mib(process):.0f} MiB，预算 400 MiB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(int(sys.argv[1]))
    else:
        main()
