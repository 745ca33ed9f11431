"""Measures what the rules cost per list, beside an empty rule set and ``json.loads`` of the same lists.

``python -m benchmarks.rules``: 200 lists of 20 diagnoses, no two alike, of each of two kinds: those of the demo
month without a mistake, filled up with diagnoses of other such lists (5.8 KB), and lists whose diagnoses are
drawn from the code book at random, so that some contradict each other (7.2 KB). CPU time of one thread, the
best of several runs for each list.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import count, islice
from typing import Any

from api.demo.case_mix import load_case_mix
from api.demo.generator import Generator
from models.pack import PackStore
from models.wire import decode
from qc_rules.examples import build
from qc_rules.predicates.formats import check_digit
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet, national_pack
from qc_rules.schema import Example

LISTS = 200
DIAGNOSES = 20
DOCTORS = 100
RUNS = 5
COMMON_CODES = 3_000
"""Codes that a hospital uses in a month: rows repeat from list to list as often as that."""
PARTS = ("claa_sumfee", "clab_amt", "fulamt_ownpay_amt", "oth_amt")
SURNAMES, GIVEN_NAMES = "王李张刘陈杨黄赵周吴", "伟芳秀英敏静丽强磊军洋勇艳杰涛明超兰霞平"


def payloads(reference: Reference, seed: int = 1) -> list[bytes]:
    """Lists built on the clean adult list: other patient, codes, staff and amounts in each."""
    choice = random.Random(seed)
    usable = [
        code for code in reference.library.icd10.codes.values() if not code.grey and code.code[0] in "EIJK"
    ]
    usable = choice.sample(usable, COMMON_CODES)
    found = []
    for number in range(LISTS):
        nodes: dict[str, Any] = build(Example())["input"]
        stay = nodes["setlinfo"]
        stay["mdtrt_id"], stay["setl_id"] = f"V{number:08d}", f"S{number:08d}"
        stay["medcasno"], stay["hi_no"] = f"{number:08d}", f"4500{number:012d}"
        for _ in range(DIAGNOSES - len(nodes["diseinfo"])):
            code = choice.choice(usable)
            row = {"diag_type": "2", "diag_code": code.code, "diag_name": code.name}
            nodes["diseinfo"].append({**row, "adm_cond_type": choice.choice("123"), "maindiag_flag": "0"})
        for row in nodes["oprninfo"]:
            doctor = choice.randrange(DOCTORS)
            row["oper_dr_name"], row["oper_dr_code"] = f"医师{doctor}", f"D4501{doctor:08d}"
        stay["diag_code_cnt"] = len(nodes["diseinfo"])
        _another_patient(stay, choice)
        _other_amounts(nodes, choice)
        found.append(json.dumps({"infno": "4101", "input": nodes}, ensure_ascii=False).encode())
    return found


def _another_patient(stay: dict[str, Any], choice: random.Random) -> None:
    """Name, identity number, birth date (58 years before admission) and telephones of somebody else."""
    stay["psn_name"], stay["coner_name"] = (
        choice.choice(SURNAMES) + "".join(choice.choices(GIVEN_NAMES, k=2)) for _ in range(2)
    )
    born = date(1967, 1, 1) + timedelta(days=choice.randrange(270))
    stay["brdy"] = born.isoformat()
    number = f"999999{born:%Y%m%d}{choice.randrange(50):02d}{choice.choice('13579')}"
    stay["certno"] = number + check_digit(number)
    stay["coner_tel"] = f"138{choice.randrange(10**8):08d}"
    stay["emp_tel"] = f"0771-55{choice.randrange(10**5):05d}"


def _other_amounts(nodes: dict[str, Any], choice: random.Random) -> None:
    """Charges in which what was not 0 is another amount, and payments that make up their total, yuan."""
    stay, whole = nodes["setlinfo"], 0
    for row in nodes["iteminfo"]:
        fen = {part: round(row[part] * choice.uniform(50, 150)) for part in PARTS}
        row |= {part: amount / 100 for part, amount in fen.items()}
        row["amt"] = sum(fen.values()) / 100
        whole += sum(fen.values())
    self_pay, own_pay = whole // 4, whole // 20
    account = (self_pay + own_pay) // 3
    stay["medfee_sumamt"], stay["psn_selfpay"], stay["psn_ownpay"] = (
        whole / 100,
        self_pay / 100,
        own_pay / 100,
    )
    stay["acct_pay"], stay["psn_cashpay"] = account / 100, (self_pay + own_pay - account) / 100
    nodes["payinfo"][0]["fund_payamt"] = (whole - self_pay - own_pay) / 100


def clean_payloads(rules: RuleSet, seed: int = 1) -> list[bytes]:
    """Lists of the demo month without charge lines, with other diagnoses added in which no rule finds anything."""
    generator = Generator(load_case_mix(PackStore()), seed)
    choice = random.Random(seed)
    made = (generator.make(index, only_4101=True).body for index in count())
    bodies = list(islice((body for body in made if "feedetail" not in body), LISTS))
    others = [row for body in bodies for row in body["diseinfo"] if row["maindiag_flag"] == "0"]
    others = [row for row in others if row["diag_type"] == "2"]

    def findings(body: Any) -> int:
        return len(rules.check(rules.facts(decode(json.dumps(body).encode()))))

    for body in bodies:
        rows, first = body["diseinfo"], findings(body)
        for _ in range(10 * DIAGNOSES):
            if len(rows) == DIAGNOSES:
                break
            rows.append(dict(choice.choice(others)))
            body["setlinfo"]["diag_code_cnt"] = len(rows)
            if findings(body) > first:
                rows.pop()
                body["setlinfo"]["diag_code_cnt"] = len(rows)
    return [json.dumps(body, ensure_ascii=False).encode() for body in bodies]


def least_microseconds(work: Callable[[Any], object], items: Sequence[Any], runs: int = 30) -> float:
    """CPU time per item, the best of several runs for each item, µs: what others do on the machine falls out."""
    best = [float("inf")] * len(items)
    for _ in range(runs):
        for number, item in enumerate(items):
            start = time.thread_time()
            work(item)
            best[number] = min(best[number], time.thread_time() - start)
    return sum(best) / len(items) * 1e6


def microseconds(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """CPU time per item, best of several runs, µs."""
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - start)
    return best / len(items) * 1e6


def main() -> None:
    """Print the table."""
    reference = Reference.load(PackStore())
    rules = RuleSet.load([national_pack()], reference)
    empty = RuleSet([], reference, rules.settings)
    measure("random", rules, empty, payloads(reference))
    measure("clean", rules, empty, clean_payloads(rules))


def measure(kind: str, rules: RuleSet, empty: RuleSet, contents: Sequence[bytes]) -> None:
    """Print the table of one kind of list."""
    received = [decode(content) for content in contents]

    def check(rules: RuleSet) -> Callable[[Any], object]:
        return lambda one: rules.check(rules.facts(one))

    start = time.process_time()
    for one in received:
        rules.check(rules.facts(one))
    first = (time.process_time() - start) / len(received) * 1e6
    found = sum(len(rules.check(rules.facts(one))) for one in received)
    everything = least_microseconds(check(rules), received)
    rows = [
        ("json.loads", least_microseconds(json.loads, contents)),
        ("decode", least_microseconds(decode, contents)),
        ("facts and an empty rule set", least_microseconds(check(empty), received)),
        (f"facts and {len(rules.running)} rules", everything),
        ("the same, codes and rows seen for the first time", first),
    ]
    size = sum(map(len, contents)) / len(contents)
    print(
        f"{LISTS} {kind} lists of {size:.0f} bytes, {DIAGNOSES} diagnoses; {found / LISTS:.2f} findings each"
    )
    for name, value in rows:
        print(f"{name:55s} {value:8.1f} µs per list")


if __name__ == "__main__":
    main()
