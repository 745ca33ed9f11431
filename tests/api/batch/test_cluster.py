"""A dask cluster of two workers stores the same as one process; one that is not there is said."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from api.batch.executors import open_executor
from api.batch.runs import BatchError
from tests.api.batch.conftest import BROKEN, Site, bodies
from tests.api.batch.test_driver import MakeFile, exported, people, stored

distributed = pytest.importorskip("distributed", reason="没有安装 dask.distributed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with warnings.catch_warnings():
        # About the machine: how much memory it seems to have, and ports that are taken.
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as found:
            yield found.scheduler_address


def test_two_workers_of_a_cluster_store_the_same_as_this_process(
    site: Site, lists_file: MakeFile, cluster: str
) -> None:
    path = lists_file([*bodies(90), BROKEN, *people()])
    here = site.run(path, part_size=7)
    run_id = site.new(path, part_size=7)
    with open_executor(4, cluster) as (executor, workers):
        assert workers == 2
        there = site.work(run_id, path, executor, workers=workers)
    assert there.state == "done"
    assert exported(site.database, there.id) == exported(site.database, here.id)
    assert stored(site.database, there.id) == stored(site.database, here.id)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere", "ftp://a:1", """ \n"""])
def test_a_cluster_that_is_not_there_is_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.batch.executors.CONNECT_SECONDS", 2)
    with pytest.raises(BatchError, match="集群"), open_executor(1, address):
        pytest.fail("nothing is there")
