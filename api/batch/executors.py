"""Where parts are worked on: in this process, in processes of this machine, or on a dask cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from threading import Thread
from typing import Any, ParamSpec, TypeVar, cast

from api.batch.runs import BatchError

P = ParamSpec("P")
T = TypeVar("T")
CONNECT_SECONDS = 15


class InProcess(Executor):
    """Does what is submitted at once, in the thread that submits it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def open_executor(workers: int, cluster: str = "") -> Iterator[tuple[Executor, int]]:
    """An executor and the number of its workers; with ``cluster`` that of the dask scheduler there.

    ``workers`` 0 means this process, and no other. Raises BatchError for a cluster that cannot be reached.
    """
    if cluster:
        with _cluster(cluster) as found:
            yield found
    elif workers == 0:
        yield InProcess(), 1
    else:
        with _processes(workers) as pool:
            yield pool, workers


def default_workers() -> int:
    """One worker for each processor that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    """Processes that a small server forks, into which the program is loaded once.

    Not forked from this process: it has threads and open connections, which a copy must not have.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["api.batch.work"])
    _start_server()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_be_a_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_server() -> None:
    """Start what forks the workers, deaf to Ctrl+C: a terminal sends it to every process, and one that is
    still loading the program would die of it. What is blocked here is blocked in what is started from here.
    """
    # It unblocks what its starter has blocked, so it is started first.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _be_a_worker() -> None:
    """Leave Ctrl+C to the driver, and end with it, even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _cluster(address: str) -> Iterator[tuple[Executor, int]]:
    try:
        from distributed import Client  # noqa: PLC0415 -- optional, and heavy
    except ImportError as error:
        raise BatchError("没有安装 dask.distributed；请安装 qingdan[cluster] 后再用 --cluster") from error
    try:
        client: Any = cast(Any, Client)(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise BatchError(
            f"连接不上计算集群 {address}（{type(error).__name__}）；请检查调度器是否在运行，"
            "地址应如 tcp://主机:8786"
        ) from error
    try:
        threads = sum(client.nthreads().values())
        if not threads:
            raise BatchError(f"计算集群 {address} 没有工作进程；请先用 dask worker 启动")
        # Every call is a task of its own, even of a part that was worked on before.
        yield client.get_executor(pure=False), threads
    finally:
        client.close()
