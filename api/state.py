"""What the service holds while it runs: its settings, and the checker once the packs are loaded."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from api.batch.jobs import QUEUE_FILE, Queue, Worker
from api.problems import ProblemError
from api.services.acceptance import AcceptanceError, AcceptanceStore
from api.services.check import Checker
from api.services.codes import open_search
from api.services.comparison import ComparisonDesk
from api.services.dip import DipDesk
from api.services.payment import PaymentDesk
from api.settings import Settings
from api.store.acceptances import FRESH_SECONDS, StoredAcceptances
from api.store.database import Database, LazyDatabase
from coding.search import CodeSearch
from models.pack import PackError
from qc_rules.acceptance import Acceptances

if TYPE_CHECKING:
    from api.services.suggestion import SuggestionService

logger = logging.getLogger("qingdan")


@dataclass
class Service:
    """The state of one running service. ``faults`` (Chinese) say why it is not ready.

    ``documented``: the OpenAPI document has been made with the examples that loaded packs give.
    """

    settings: Settings
    checker: Checker | None = None
    faults: tuple[str, ...] = ("数据包尚未加载",)
    documented: bool = False
    _search: CodeSearch | None = None
    _dip: DipDesk | None = None
    _payment: PaymentDesk | None = None
    _comparison: ComparisonDesk | None = None
    _acceptances: StoredAcceptances | None = None
    _suggestion: SuggestionService | None = None
    _queue: Queue | None = None
    _worker: Worker | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _database: LazyDatabase = field(init=False)

    def __post_init__(self) -> None:
        self._database = LazyDatabase(self.settings)

    def open(self) -> None:
        """Load the packs. A fault is logged and kept: the service then answers 503 and says why."""
        try:
            self.checker = Checker.open(self.settings.store(), self.settings.region, self.settings.scheme)
        except PackError as error:
            self.faults = error.faults
            for fault in error.faults:
                logger.error("数据包不能加载：%s", fault)
        else:
            self.faults = ()
            if (self.settings.home / QUEUE_FILE).exists():
                self.jobs()

    def require(self) -> Checker:
        """The checker. Raises ProblemError (503) while there is none."""
        if self.checker is None:
            raise ProblemError("not-ready", "；".join(self.faults))
        return self.checker

    def database(self) -> Database:
        """The store, opened when first asked for. Raises StoreError."""
        return self._database()

    def jobs(self) -> Queue:
        """The queue of background runs; a worker empties it from the first time it is asked for."""
        with self._lock:
            if self._queue is None:
                self._queue = Queue(self.settings)
                self._worker = Worker(self.database, self.settings, self._queue)
                self._worker.start()
            return self._queue

    def close(self) -> None:
        """End the background runs after the part at hand, and let go of the store."""
        if self._worker is not None:
            self._worker.stop()
        self._database.dispose()

    def acceptances(self) -> AcceptanceStore:
        """What the hospital has accepted."""
        if self._acceptances is None:
            self._acceptances = StoredAcceptances(self._database, FRESH_SECONDS)
        return self._acceptances

    def accepted(self) -> Acceptances:
        """The acceptances that hold today. Raises ProblemError (503) when they cannot be read."""
        try:
            return self.acceptances().holding(datetime.now().astimezone().date())
        except AcceptanceError as error:
            raise ProblemError("not-ready", str(error)) from error

    def dip(self) -> DipDesk:
        """Grouping and pricing by DIP. Raises ProblemError (503)."""
        if self._dip is None:
            self._dip = DipDesk(self.require())
        return self._dip

    def payment(self) -> PaymentDesk:
        """Pricing by DRG. Raises ProblemError (503)."""
        if self._payment is None:
            self._payment = PaymentDesk(self.require())
        return self._payment

    def comparison(self) -> ComparisonDesk:
        """Other choices of one record, and two schemes. Raises ProblemError (503)."""
        if self._comparison is None:
            self._comparison = ComparisonDesk(self.require(), self.payment())
        return self._comparison

    def suggestion(self) -> SuggestionService:
        """Suggestion of codes; its models and indices are read when first used. Raises ProblemError (503).

        To be called in a thread: the first time it loads SciPy.
        """
        # A service must be there soon, and the first suggestion reads models for seconds anyway.
        from api.services.suggestion import SuggestionService  # noqa: PLC0415 -- heavy
        from api.store.codings import StoredCodings  # noqa: PLC0415 -- heavy

        store = self.require().store
        with self._lock:
            if self._suggestion is None:
                accepted = StoredCodings(self._database)
                self._suggestion = SuggestionService(
                    store, self.settings.home, accepted, self.settings.region
                )
            return self._suggestion

    def remembers(self) -> bool:
        """Whether what coders accept can be stored."""
        return self._database.writable()

    def search(self) -> CodeSearch:
        """The search box, built when first asked for (about a second). Raises PackError."""
        with self._lock:
            if self._search is None:
                self._search = open_search(self.require().store, self.settings.region)
            return self._search


# Asynchronous, so that they run in place: a plain function would be sent to a thread.
async def service_of(connection: HTTPConnection) -> Service:
    service = connection.app.state.service
    assert isinstance(service, Service)  # noqa: S101 -- create_app put it there
    return service


async def checker_of(service: Annotated[Service, Depends(service_of)]) -> Checker:
    return service.require()


ServiceDep = Annotated[Service, Depends(service_of)]
CheckerDep = Annotated[Checker, Depends(checker_of)]
