"""The OpenAPI document: the list's and the answers' schemas, with examples computed by the service itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.answers import JSON
from api.batch.comparison import RunComparison
from api.batch.correction import Corrected
from api.batch.payloads import Exported
from api.batch.runs import RunSummary
from api.example import EXAMPLE_CASE, EXAMPLE_LIST
from api.intake.rejects import Reject
from api.problems import Problem
from api.routes.batch import RunDetail
from api.routes.dip import EXAMPLE_BILLED_CASE, BilledCase
from api.routes.group import GroupRequest
from api.routes.health import Health
from api.routes.packs import PackEntry, pack_entry
from api.routes.revalidation import OpenedVersion
from api.routes.suggestion import AcceptRequest, AdviceRequest, SuggestRequest
from api.services.acceptance import KeptAcceptance, NewAcceptance
from api.services.check import Checker
from api.services.codes import CodeEntry, find_code
from api.services.comparison import ComparisonDesk, JudgedWhatIf
from api.services.dip import DipDesk
from api.services.explanation import explain_case
from api.services.month.report.sealing import SealedLine, Verdict
from api.services.month.worklist import WorkPage
from api.services.payment import PaidGroup, PaymentDesk
from api.services.rules import RuleEntry, rule_entries
from api.services.suggestion import SuggestAnswer
from api.state import Service
from coding.browse import Node
from coding.search import Hit
from coding.suggestion.advice import Advice
from grouper.compare import SchemeComparison
from grouper.dip.engine import DipResult
from grouper.dip.explain import DipExplanation
from grouper.dip.score import DipScore
from grouper.explain import Explanation
from grouper.worksheet import Billing
from models.grouping import GroupResult
from models.report import Report
from models.settlement_list import FIELDS, NODE_LABELS, RECORDS, Minutes, SettlementList, Weights
from models.wire import decode_payload

DESCRIPTION = """医疗保障基金结算清单的质控、DRG 分组和编码查询。

- 请求和答复都是 UTF-8 编码的 JSON，请求头 `Content-Type: application/json`；不接受压缩的报文。
- 出错时答复 `application/problem+json`（RFC 9457），`title` 和 `detail` 是中文。
- 服务不保存收到的清单，访问日志不含患者信息。
"""
TAGS = [
    {"name": "质控", "description": "检查结算清单"},
    {"name": "分组", "description": "DRG 分组"},
    {"name": "DIP 与支付", "description": "DIP 分组、理由、分值，DRG 预计支付"},
    {"name": "编码", "description": "医保版编码的查找"},
    {"name": "规则", "description": "质控规则目录"},
    {"name": "批次", "description": "上传一个月的清单，查询进度和结果"},
    {"name": "月报", "description": "封存的月报、月报草稿、工作清单"},
    {"name": "数据包", "description": "编码库、方案、权重表等数据"},
    {"name": "运行", "description": "运行状态"},
]


DESCRIPTIONS = {
    "SettlementList": "医疗保障基金结算清单；未知的字段保留并在报告中提示",
    "Envelope": "接口 4101 或 4101A 的报文",
    "GroupRequest": "一个病例：诊断和手术操作的编码，以及分组用到的基本情况",
    "Report": "检查报告。verdict：有错误为需修改，只有警告为需复核，否则可上传。score 为 100 减各规则扣分",
    "Finding": "一条问题。path 是它在所收报文中的位置，field 是字段名称，value 是所填的值；"
    "有 accepted 的已被接受，不计入结论和得分",
    "Accepted": "谁接受了这个问题、理由；until 是有效的最后一天，没有即长期",
    "NewAcceptance": "要接受的问题：规则，以及一份清单（list_id）或一类问题（字段、值、出院科室，可不写）",
    "Acceptance": "一次接受：编号、规则、接受人、理由、时间和范围",
    "KeptAcceptance": "一次接受，已撤销的写明撤销人和时间",
    "Withdrawal": "撤销人和时间",
    "GroupResult": "分组结果。code 是 DRG 编码，0000 为未入组；reason 是固定的原因代号，explanation 是中文说明",
    "Complication": "一个其他诊断算作 MCC、CC 或都不是，是否被排除表排除",
    "PreparedCode": "收到的编码和分组所用的编码；used 为空即未使用，reason 说明原因",
    "Explanation": "DRG 和得出它的过程：path 是 MDC、ADRG、DRG 三级；未入组时 tried 是试过的各组；names 是编码的名称",
    "PathStep": "一级：level 是 MDC、ADRG 或 DRG，rule 是规则原文，held 是成立的条件，passed_over 是此前未入的组",
    "RuleFact": "规则中的一个条件和本例与它有关的事实",
    "PassedOver": "此前未入的一组；failed 是其规则中未满足的条件",
    "JudgedWhatIf": "清单所列的分组，其他选择（按病历中的先后），支撑入组的编码；missing 是缺少的支付参数",
    "JudgedAlternative": "一种选择。kind：principal 作主要诊断，main 作主要手术，without 不计这一并发症；差额都是选择减现状",
    "RuleMention": "会新触发或不再触发的一条质控规则",
    "Outcome": "分组及其权重、公布的支付标准、预计支付（元）；没有数据为空",
    "Carrier": "去掉它就会改变分组的编码，病历中须有依据；without 是去掉后的分组",
    "SchemeComparison": "同一病例在两个方案下的分组，权重差为后者减前者",
    "PackRef": "结果所用的数据包；sha256 是其清单的摘要",
    "Hit": "找到的一个编码。matched 是匹配的名称，reason 是代号，explanation 是中文说明，grey 为灰码",
    "CodeEntry": "一个编码。grey 为灰码（不用于结算清单），ancestors 由近到远",
    "SuggestRequest": "要编码的文字。kind：diagnosis 诊断，procedure 手术操作；context 各项都可不写，不要带患者身份信息",
    "StayContext": "这次住院的已知情况：sex 1 男 2 女，age 周岁，department 科室，已列出的诊断和手术操作编码",
    "SuggestAnswer": "文中的每一项和候选编码；model 是所用的模型版本，shipped 为随程序发布的",
    "Mention": "文中的一项：start、end 是原文中的字符位置（半开区间），status 为 coded、unsure 或 excluded",
    "Candidate": "一个候选编码。probability 是校准过的把握，flags 关于编码，warnings 关于这位病人，past 是本院选用的次数",
    "AdviceRequest": "要建议的诊断编码；text 是医师原文，可不写",
    "AcceptRequest": "编码员为一段文字采纳的编码；text 只写诊断或手术的文字，不带患者身份信息",
    "Advice": "就已列出的诊断所作的建议；source 是依据",
    "PrincipalChoice": "一个诊断能否作主要诊断、所合的选择要求",
    "Combination": "两个诊断有一个合并编码",
    "Replacement": "用 instead 代替 code 的理由",
    "Node": "编码树的一行：key 用来列下一级；编码表没有类目名称，example 是其下“未特指”编码的名称",
    "RuleEntry": "规则目录的一行。severity 是实际使用的级别，runs 是否在用",
    "PackEntry": "一个已安装的数据包，日期为适用的出院日期",
    "SealedLine": "一份封存的月报：SHA-256、封存人和时间、取代关系；superseded_by 为 0 即在用",
    "Verdict": "核验一份封存月报的结果：faults 为空即相符",
    "WorkPage": "工作清单的一页：total 是符合筛选的问题数，lists 是涉及的清单数",
    "WorkRow": "一个问题和它所在的清单；number 是清单在批次中的序号，other 是跨清单问题的另一清单",
    "RunSummary": "一个批次：state 为 queued 排队、running 进行、cancelling 正在取消、cancelled 已取消、failed 失败、done 完成",
    "RunDetail": "一个批次和到目前为止的结果",
    "RunComparison": "两个批次之间的变化；only_before、only_after 是只有一批有的清单数，corrected 是更正过的清单数",
    "RunTotals": "两批都有的清单在其中一批的合计：问题数、结论、权重、CMI、预计支付（元）、DIP",
    "RuleMove": "一条规则新出现、消失、轻重或接受改变的问题数，涉及的清单数",
    "DepartmentMove": "一个科室的清单的变化",
    "GroupMove": "从一个 DRG 换到另一个的清单数，权重和预计支付（元）的变化",
    "PackChange": "两批所用版本或内容不同的数据包；空为没有用",
    "ChangedList": "一份有变化的清单；corrected 为后一批质控的是更正后的版本",
    "OpenedVersion": "批次中一份清单的最新一版，患者身份打码；findings 是批次对第 judged 版的结论",
    "StoredVersion": "清单的一个版本：何时由谁存入，来自哪里",
    "Corrected": "保存的版本和它的质控结果；new 为 false 即内容没有变化",
    "Exported": "能导出的份数 written，不能导出的清单和原因 refused",
    "Refused": "一份不能导出的清单和原因；number 是它在批次中的序号",
    "Notices": "批次要说明的：另存为新版本的清单数 renewed、出院不在当月的清单数 outside_month，以及说明文字",
    "SourceProblem": "几乎每份清单都有的问题：涉及 lists 份清单，共 findings 处，多半出在数据来源",
    "Grouping": "入组 grouped、歧义组 QY ambiguous、未入组 0000 ungrouped、没有适用的分组方案 unjudged 的清单数",
    "Totals": "各结论的清单数、入组数、费用和预计支付（元）、各规则的问题数、所用的数据包",
    "RuleTotal": "一条规则的问题数和涉及的清单数，已接受的不计",
    "UsedPack": "批次所用的数据包",
    "Reject": "没有成为清单的一行；line 为 0 是整个文件",
    "Health": "运行状态和各数据包的使用版本",
    "BilledCase": "一个病例，以及费用、医疗机构和险种",
    "DipResult": "DIP 分组结果。code 为空即未入组；layer 是所在的层次，tie 说明几个病种都符合时怎样取舍",
    "DipExplanation": "DIP 分组结果和得出它的过程；text 是同样内容的中文文本",
    "LayerTrace": "一层：结果、说明、试过的病种；omitted 是没有列出的病种数",
    "TriedGroup": "试过的一个病种：rule 是它的条件，failed 是病例不符合之处，空即符合",
    "DipScore": "病例分值和预计金额（元，两位小数的文本）；missing 是缺少的参数，有缺少时没有金额",
    "Step": "计算的一步：项目、值、怎样得出、参数的出处",
    "DrgPayment": "DRG 预计支付（元，两位小数的文本）；missing 是缺少的参数，有缺少时没有预计支付",
    "PaidGroup": "DRG 分组结果和预计支付",
    "Problem": "RFC 9457 错误；errors 列出每个有误的字段",
    "FieldFault": "有误的字段及原因",
}
"""What each schema is, where its node label does not say."""


class Envelope(msgspec.Struct):
    """The list in the message of interface 4101 or 4101A."""

    input: SettlementList
    infno: str = "4101"


REQUESTS = (
    Envelope,
    GroupRequest,
    BilledCase,
    NewAcceptance,
    SuggestRequest,
    AdviceRequest,
    AcceptRequest,
)
ANSWERS = (
    Report,
    GroupResult,
    DipResult,
    DipExplanation,
    DipScore,
    PaidGroup,
    Explanation,
    JudgedWhatIf,
    SchemeComparison,
    Hit,
    CodeEntry,
    Node,
    SuggestAnswer,
    Advice,
    RuleEntry,
    KeptAcceptance,
    PackEntry,
    RunSummary,
    RunDetail,
    RunComparison,
    OpenedVersion,
    Corrected,
    Exported,
    Reject,
    SealedLine,
    Verdict,
    WorkPage,
    Health,
    Problem,
)


def _custom_types(kind: type) -> dict[str, Any]:
    if kind is Minutes:
        return {"type": "string", "description": "天/时/分，如 1/13/24"}
    if kind is Weights:
        return {"type": "string", "description": "克；多个新生儿用半角逗号分隔"}
    raise NotImplementedError(kind)


def components() -> dict[str, Any]:
    """The schemas of what comes in and goes out, by name."""
    _, schemas = msgspec.json.schema_components(
        (*REQUESTS, *ANSWERS),
        schema_hook=_custom_types,
        ref_template="#/components/schemas/{name}",
    )
    for node, record in RECORDS.items():
        schema = schemas[record.__name__]
        schema["title"] = schema["description"] = f"{NODE_LABELS[node]}（{node}）"
        for wire, info in FIELDS[node].items():
            schema["properties"][wire] = _plain(schema["properties"][wire]) | {"description": info.label}
    for name in ("SettlementList", *(record.__name__ for record in RECORDS.values())):
        # Unknown fields are kept and reported, not refused.
        schemas[name].pop("additionalProperties", None)
    nodes = schemas["SettlementList"]["properties"]
    for node, label in NODE_LABELS.items():
        nodes[node] = {"description": label, **_plain(nodes[node])}
    # Any node makes a list; without one the message is something else.
    schemas["SettlementList"]["anyOf"] = [{"required": [node]} for node in RECORDS]
    for name, text in DESCRIPTIONS.items():
        schemas[name]["description"] = text
    return dict(schemas)


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A property without the things that only the decoder needs."""
    return {key: value for key, value in schema.items() if key not in ("default", "title")}


def _examples(checker: Checker) -> dict[str, Any]:
    """What the service really answers, by operation."""
    received = decode_payload(EXAMPLE_LIST)
    pack = checker.store.pack_for("icd10")
    case = GroupRequest(**EXAMPLE_CASE).case()
    comparison = ComparisonDesk(checker, PaymentDesk(checker))
    rules = rule_entries(checker.rules)[:2]
    entry = find_code(checker.library, "icd10", "I10.x00x002")
    found = {
        "check": checker.check(received),
        "group": checker.group(case),
        "dip_group": DipDesk(checker).group(BilledCase(**EXAMPLE_BILLED_CASE).case()),
        "group_explain": explain_case(checker, case),
        "group_what_if": comparison.what_if(case, Billing()),
        "group_compare": comparison.compare("chs-drg-1.1", "chs-drg-2.0", case),
        "get_code": entry,
        "list_rules": rules,
        "get_rule": checker.rules.rule(rules[0].code) if rules else None,
        "list_packs": [pack_entry(pack, checker.store)],
    }
    return {name: msgspec.to_builtins(value) for name, value in found.items() if value is not None}


def document(app: FastAPI, service: Service) -> dict[str, Any]:
    """The OpenAPI document of ``app``; examples of answers are there once the packs are loaded."""
    made = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=TAGS
    )
    made.setdefault("components", {}).setdefault("schemas", {}).update(components())
    examples = _examples(service.checker) if service.checker else {}
    for operations in made["paths"].values():
        for operation in operations.values():
            example = examples.get(operation["operationId"])
            if example is not None:
                operation["responses"]["200"]["content"][JSON]["example"] = example
    return made
