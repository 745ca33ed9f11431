"""What the pages show of groups: payment and DIP beside the DRG, the reasons, other choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from api.services.comparison import REGION_PLAN, JudgedAlternative, JudgedWhatIf
from api.services.explanation import explain_case
from api.services.payment import billing_of_list
from api.state import Service
from grouper.compare import Outcome
from grouper.dip.engine import DipResult
from grouper.dip.explain import DipExplanation
from grouper.dip.score import DEVIATION_NAMES, DipScore
from grouper.explain import Explanation, PassedOver, PathStep, complication_text
from grouper.payment import OUTLIER_NAMES, DrgPayment
from models.grouping import GroupResult, PreparedCode
from models.pack import PackError
from models.wire import Received

SYMBOLS = (
    ("ZYZD", "主要诊断"),
    ("QTZD", "其他诊断"),
    ("ZYSS", "主要手术操作"),
    ("QTSS", "其他手术操作"),
    ("NL", "年龄（岁）"),
    ("XSRTL", "年龄（天）"),
    ("XSRTZ", "出生体重（克）"),
    ("XB", "性别（1 男，2 女）"),
    ("ZYTS", "住院天数"),
    ("LYFS", "离院方式"),
    ("ICUSC", "重症监护小时数"),
    ("CYKB", "出院科别"),
    ("in", "属于集合"),
    ("DI_…、OP_…", "诊断、手术操作的集合"),
)
"""How the official rules write what they ask about."""
KINDS: Mapping[str, tuple[str, str]] = {
    "principal": ("以另一诊断作主要诊断", "作主要诊断"),
    "main": ("以另一手术操作作主要手术操作", "作主要手术操作"),
    "without": ("不计一个 MCC/CC", "不计"),
}
ROLES = {"principal": "主要诊断", "other": "其他诊断", "main": "主要手术操作", "procedure": "其他手术操作"}
PLACES = ("主要", "其他")


@dataclass(frozen=True, slots=True)
class Beside:
    """DRG payment and DIP of one list. Where there is none, ``no_payment`` or ``no_dip`` says why (Chinese)."""

    payment: DrgPayment | None = None
    no_payment: str = ""
    dip: DipResult | None = None
    score: DipScore | None = None
    no_dip: str = ""

    @property
    def outlier(self) -> str:
        return OUTLIER_NAMES[self.payment.outlier] if self.payment else ""

    @property
    def deviation(self) -> str:
        return DEVIATION_NAMES[self.score.deviation] if self.score else ""


def beside(service: Service, received: Received, group: GroupResult | None) -> Beside:
    """Payment of the DRG that the page shows, and the DIP of the same list with its amount."""
    dip_desk, payment_desk = service.dip(), service.payment()
    case, cost, on = dip_desk.case_of_list(received)
    billing = billing_of_list(received, cost)
    payment = dip = score = None
    no_payment = no_dip = ""
    scheme = group.pack.id if group and group.pack else ""
    try:
        payment = payment_desk.pay(case, billing, on=on, scheme=scheme).payment
    except PackError as error:
        no_payment = str(error)
    try:
        dip = dip_desk.group(case, cost, on=on)
        score = dip_desk.score(case, billing, on=on)
    except PackError as error:
        no_dip = str(error)
    return Beside(payment, no_payment, dip, score, no_dip)


@dataclass(frozen=True, slots=True)
class Tried:
    """The entries of one level that were passed over."""

    level: str
    entries: tuple[PassedOver, ...]


@dataclass(frozen=True, slots=True)
class CodeLine:
    """One received code: its place (主要 or 其他), its name, and what became of it."""

    place: str
    code: PreparedCode
    name: str


@dataclass(frozen=True, slots=True)
class Reasons:
    """The page of reasons: the DRG with its path, and the DIP of the same list where there is one."""

    drg: Explanation
    dip: DipExplanation | None

    @property
    def path(self) -> tuple[tuple[PathStep, tuple[Tried, ...]], ...]:
        """Each step with the entries passed over before it, by level."""
        return tuple((step, by_level(step.passed_over)) for step in self.drg.path)

    @property
    def tried(self) -> tuple[Tried, ...]:
        return by_level(self.drg.tried)

    @property
    def diagnoses(self) -> tuple[CodeLine, ...]:
        return self._lines(self.drg.result.diagnoses)

    @property
    def procedures(self) -> tuple[CodeLine, ...]:
        return self._lines(self.drg.result.procedures)

    @property
    def complications(self) -> tuple[tuple[str, str, str, bool, str], ...]:
        """Code, name, level, whether excluded, and the sentence about it, for every other diagnosis."""
        result, names = self.drg.result, self.drg.names
        principal = result.diagnoses[0].used if result.diagnoses else ""
        return tuple(
            (one.code, names.get(one.code, ""), one.level, one.excluded, complication_text(one, principal))
            for one in result.complications
        )

    def _lines(self, codes: Sequence[PreparedCode]) -> tuple[CodeLine, ...]:
        names = self.drg.names
        return tuple(
            CodeLine(PLACES[place > 0], code, names.get(code.used, "")) for place, code in enumerate(codes)
        )


def by_level(entries: Iterable[PassedOver]) -> tuple[Tried, ...]:
    """Entries passed over, the MDCs before the ADRGs before the DRGs."""
    found: dict[str, list[PassedOver]] = {level: [] for level in ("MDC", "ADRG", "DRG")}
    for entry in entries:
        found[entry.level].append(entry)
    return tuple(Tried(level, tuple(group)) for level, group in found.items() if group)


def reasons(service: Service, received: Received) -> Reasons:
    """Why a list has its groups. Raises PackError, TooManyCodesError."""
    desk = service.dip()
    case, cost, on = desk.case_of_list(received)
    drg = explain_case(service.require(), case, on=on)
    try:
        return Reasons(drg, desk.explain(case, cost, on=on))
    except PackError:
        return Reasons(drg, None)


@dataclass(frozen=True, slots=True)
class Choices:
    """The page of other choices. ``weights``, ``standards``, ``payments``: whether any choice has one."""

    found: JudgedWhatIf

    @property
    def kinds(self) -> tuple[tuple[str, str, str, tuple[JudgedAlternative, ...]], ...]:
        """Title, what the choice does with the code, the rule it must satisfy, and the choices of each kind."""
        grouped = []
        for kind, (title, verb) in KINDS.items():
            alternatives = tuple(one for one in self.found.alternatives if one.kind == kind)
            if alternatives:
                grouped.append((title, verb, alternatives[0].rule, alternatives))
        return tuple(grouped)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        return (self.found.listed, *(one.outcome for one in self.found.alternatives))

    @property
    def weights(self) -> bool:
        return any(one.weight is not None for one in self.outcomes)

    @property
    def standards(self) -> bool:
        return any(one.standard is not None for one in self.outcomes)

    @property
    def payments(self) -> bool:
        return any(one.payment is not None for one in self.outcomes)


def choices(service: Service, received: Received) -> Choices:
    """Every other choice of a list, beside the rules. Raises PackError, TooManyCodesError."""
    case, cost, on = service.dip().case_of_list(received)
    billing = billing_of_list(received, cost)
    return Choices(service.comparison().what_if(case, billing, on=on, payment=REGION_PLAN, received=received))


def money(value: Decimal | None) -> str:
    """An amount in yuan with thousands apart; empty for none."""
    return "" if value is None else f"{value:,}"


def signed(value: Decimal | None) -> str:
    """A difference with its sign (a true minus), ``0`` without one; empty for none."""
    if value is None:
        return ""
    return f"{value:+,}".replace("-", "−") if value else "0"
