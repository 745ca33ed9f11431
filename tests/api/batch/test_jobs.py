"""Uploads and the runs over them: through the HTTP interface, in the background, across restarts of the service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from api.app import create_app
from api.batch.jobs import UPLOADS, Queue, Upload, Worker, fit_name
from api.batch.runs import new_run, read_run
from api.batch.start import begin
from api.settings import MIB, Settings
from api.store.database import Database
from tests.api.batch.conftest import BROKEN, Site, bodies
from tests.api.serving import running

OCTETS = {"content-type": "application/octet-stream"}
PATIENCE = 300


def content(count: int, *more: bytes) -> bytes:
    return b"".join(line + b"\n" for line in (*map(msgspec.json.encode, bodies(count)), *more))


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    settings = site.settings.model_copy(update={"job_workers": 1, "region": "99", "upload_limit": 4 * MIB})
    with running(create_app(settings)) as address, httpx.Client(base_url=address, timeout=120) as client:
        yield client


def hand_in(client: httpx.Client, body: bytes, **query: str) -> httpx.Response:
    asked = {"month": "2026-10", "name": "lists.ndjson", **query}
    return client.post("/api/v1/batches", params=asked, content=body, headers=OCTETS)


def ended(client: httpx.Client, run_id: int) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while True:
        found: dict[str, Any] = client.get(f"/api/v1/batches/{run_id}").raise_for_status().json()
        if found["run"]["state"] in ("done", "failed", "cancelled"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def uploads(settings: Settings) -> list[Path]:
    return list((settings.home / UPLOADS).glob("*/*"))


def test_an_uploaded_file_is_worked_on_and_then_gone(client: httpx.Client, site: Site) -> None:
    answer = hand_in(client, content(30, BROKEN), by="病案科")
    assert answer.status_code == 200, answer.text
    begun = answer.json()
    assert (begun["state"], begun["source"], begun["created_by"]) == ("queued", "lists.ndjson", "病案科")
    found = ended(client, begun["id"])
    assert (found["run"]["state"], found["run"]["lists"], found["run"]["rejected"]) == ("done", 30, 1)
    assert found["run"]["share"] == 1
    assert sum(found["totals"]["verdicts"].values()) == 30
    lines = client.get(f"/api/v1/batches/{begun['id']}/results").text.splitlines()
    assert [msgspec.json.decode(line)["number"] for line in lines] == list(range(1, 31))
    (reject,) = client.get(f"/api/v1/batches/{begun['id']}/rejects").json()
    assert (reject["source"], reject["line"]) == ("lists.ndjson", 31)
    assert [one["id"] for one in client.get("/api/v1/batches").json()] == [begun["id"]]
    assert client.get("/api/v1/batches", params={"month": "2026-09"}).json() == []
    assert str(site.settings.home) not in answer.text + client.get("/api/v1/batches").text
    deadline = time.monotonic() + PATIENCE
    while uploads(site.settings):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_finished_batch_is_neither_cancelled_nor_resumed(client: httpx.Client) -> None:
    run_id = hand_in(client, content(2)).json()["id"]
    ended(client, run_id)
    for action in ("cancel", "resume"):
        refused = client.post(f"/api/v1/batches/{run_id}/{action}", json={})
        assert refused.status_code == 422
        assert "已经完成" in refused.json()["detail"]
        # Another site's form could send this.
        assert client.post(f"/api/v1/batches/{run_id}/{action}").status_code == 415
        assert client.post(f"/api/v1/batches/999/{action}", json={}).status_code == 404
    assert client.get("/api/v1/batches/999").status_code == 404


@pytest.mark.parametrize(
    ("query", "body", "status", "said"),
    [
        ({"month": "2026-13"}, b"{}", 422, "month"),
        ({"month": ""}, b"{}", 422, "month"),
        ({"name": ""}, b"{}", 422, "name"),
        ({}, b"", 422, "文件是空的"),
        ({"name": "../../etc/passwd"}, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 422, "passwd"),
        ({"name": "a.zip"}, b"PK\x03\x04 cut off", 422, "a.zip"),
        ({}, b"x" * (5 * MIB), 413, "上限"),
    ],
)
def test_what_is_no_batch_is_refused_and_leaves_nothing_behind(  # noqa: PLR0917 -- pytest gives them by name
    client: httpx.Client, site: Site, query: dict[str, str], body: bytes, status: int, said: str
) -> None:
    refused = hand_in(client, body, **query)
    assert refused.status_code == status
    assert said in refused.text
    assert str(site.settings.home) not in refused.text
    assert uploads(site.settings) == []
    assert client.get("/api/v1/batches").json() == []


def test_another_content_type_is_refused(client: httpx.Client) -> None:
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
        refused = client.post(
            "/api/v1/batches",
            params={"month": "2026-10", "name": "a"},
            content=b"{}",
            headers={"content-type": kind},
        )
        assert refused.status_code == 415


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("lists.ndjson", "lists.ndjson"),
        ("../../x/十月 清单.xlsx", "十月 清单.xlsx"),
        ("C:\\data\\a.csv", "a.csv"),
        ("..", "上传"),
        (".hidden", "hidden"),
        ("a\0b\n.zip", "a_b_.zip"),
        ("长" * 300 + ".parquet", "长" * 90 + ".parquet"),
        ("", "上传"),
    ],
)
def test_the_name_of_an_upload_leads_nowhere(sent: str, kept: str) -> None:
    assert fit_name(sent) == kept


def test_what_a_service_left_is_taken_up_by_the_next_one(site: Site) -> None:
    upload = Upload(site.settings, "lists.ndjson")
    upload.write(content(12))
    upload.close()
    run_id = begin(site.database, site.settings, upload.path, month="2026-10", by="x")
    lost = new_run(
        site.database, month="2026-10", source="/elsewhere/a.ndjson", options=site.options(), by="x"
    )
    worker = Worker(lambda: site.database, site.settings, Queue(site.settings))
    worker.start()
    deadline = time.monotonic() + PATIENCE
    while read_run(site.database, run_id).state != "done" or upload.folder.exists():
        assert time.monotonic() < deadline, read_run(site.database, run_id)
        time.sleep(0.05)
    worker.stop()
    # A run of the command line is not the service's to begin.
    assert read_run(site.database, lost).state == "queued"


def test_a_service_that_ends_leaves_the_rest_to_the_next_one(site: Site) -> None:
    upload = Upload(site.settings, "lists.ndjson")
    upload.write(content(40))
    upload.close()
    run_id = new_run(
        site.database,
        month="2026-10",
        source=str(upload.path),
        options=site.options(),
        by="x",
        part_size=10,
        total_bytes=upload.path.stat().st_size,
    )
    first = Worker(lambda: site.database, site.settings, Queue(site.settings))
    first.stop()
    first.work(run_id)
    left = read_run(site.database, run_id)
    assert (left.state, left.lists) == ("queued", 10)
    second = Worker(lambda: site.database, site.settings, Queue(site.settings))
    second.work(run_id)
    assert read_run(site.database, run_id).lists == 40
    assert not upload.folder.exists()


def test_a_run_whose_input_has_gone_fails_with_its_reason(
    site: Site, lists_file: Callable[..., Path]
) -> None:
    path = lists_file(bodies(2))
    run_id = site.new(path)
    path.unlink()
    Worker(lambda: site.database, site.settings, Queue(site.settings)).work(run_id)
    run = read_run(site.database, run_id)
    assert run.state == "failed"
    assert "没有这个文件" in run.message


def test_old_uploads_of_no_run_are_removed(site: Site, database: Database) -> None:
    old, new = (Upload(site.settings, "a.csv") for _ in range(2))
    for one in (old, new):
        one.close()
    long_ago = time.time() - 3 * 86400
    os.utime(old.folder, (long_ago, long_ago))
    Worker(lambda: site.database, site.settings, Queue(site.settings)).take_up()
    assert not old.folder.exists()
    assert new.folder.exists()


OWN_TABLE = "号,名,主码\n1,甲,I10.x00\n2,乙,J18.900\n"
OWN_MAPPING = """
[setlinfo]
mdtrt_id = "号"
medcasno = "号"
psn_name = "名"
[[diseinfo]]
diag_type = { value = "1", if_filled = "主码" }
diag_code = "主码"
"""


def test_region_packs_and_mapping_come_with_the_file(client: httpx.Client, site: Site) -> None:
    mapping, table = OWN_MAPPING.encode(), OWN_TABLE.encode()
    answer = hand_in(
        client,
        mapping + table,
        name="own.csv",
        mapping="本院.toml",
        mapping_bytes=str(len(mapping)),
        region="51",
        payment="sichuan-2024",
        scheme="chs-drg-2.0",
    )
    assert answer.status_code == 200, answer.text
    found = ended(client, answer.json()["id"])
    assert (found["run"]["state"], found["run"]["lists"], found["run"]["rejected"]) == ("done", 2, 0)
    database = Database.open(site.settings)
    options = read_run(database, answer.json()["id"]).read_options
    database.dispose()
    assert (options.region, options.payment, options.scheme) == ("51", "sichuan-2024", "chs-drg-2.0")
    assert options.mapping is not None
    assert options.mapping.name == "本院"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"payment": "no-such"}, "sichuan-2024"),
        ({"scheme": "no-such"}, "chs-drg-2.0"),
        ({"payment": "sichuan-2024", "scheme": "chs-drg-1.1"}, "不能用于 chs-drg-1.1"),
        ({"mapping": "no-such"}, "hqms"),
        ({"mapping": "a.toml", "mapping_bytes": "9"}, "TOML"),
        ({"mapping": "a.yaml", "mapping_bytes": "9"}, "a.yaml"),
        ({"mapping": "../../a.toml", "mapping_bytes": "900000"}, "还短"),
        ({"mapping_bytes": "99999999"}, "mapping_bytes"),
        ({"mapping_bytes": "-1"}, "mapping_bytes"),
    ],
)
def test_packs_and_mappings_that_are_none_are_refused_and_nothing_is_kept(
    client: httpx.Client, site: Site, query: dict[str, str], said: str
) -> None:
    answer = hand_in(client, b"= no = toml\n" + OWN_TABLE.encode(), name="own.csv", **query)
    assert answer.status_code == 422, answer.text
    assert said in answer.text
    assert client.get("/api/v1/batches").json() == []
    assert uploads(site.settings) == []


def test_a_shipped_mapping_is_named_without_a_file(client: httpx.Client) -> None:
    answer = hand_in(client, b"BAH,JBDM,ZYCS\n1,I10.x00,1\n", name="a.csv", mapping="n041")
    assert ended(client, answer.raise_for_status().json()["id"])["run"]["lists"] == 1


def test_a_run_that_fails_in_an_unforeseen_way_says_so_and_does_not_wait_for_ever(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("cannot fork")

    monkeypatch.setattr("api.batch.jobs.go_on", broken)
    answer = hand_in(client, content(2))
    found = ended(client, answer.json()["id"])
    assert found["run"]["state"] == "failed"
    assert "程序出错（RuntimeError）" in found["run"]["message"]
