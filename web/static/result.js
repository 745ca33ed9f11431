// The answer of the check: beside the form, and at the fields that the findings name.

const SEVERITIES = { error: "错误", warn: "警告", info: "提示" };
const RANK = Object.keys(SEVERITIES);
const base = document.documentElement.dataset.base;

function fill(part, values) {
  for (const slot of part.querySelectorAll("[data-text]")) {
    if (slot.dataset.text in values) slot.textContent = values[slot.dataset.text] ?? "";
  }
  return part;
}

const copy = (name) => document.getElementById(`blank-${name}`).content.firstElementChild.cloneNode(true);

function show(list, items, name, prepare) {
  list.replaceChildren(
    ...items.map((item) => {
      const piece = fill(copy(name), item);
      prepare?.(piece, item);
      return piece;
    }),
  );
  list.closest("div[data-complications], div[data-prepared]")?.toggleAttribute("hidden", !items.length);
}

const note = (finding) => {
  const item = document.createElement("li");
  item.dataset.severity = finding.severity;
  item.textContent = finding.message;
  return item;
};

function notesFor(element) {
  const row = element.closest(".row");
  const id = `notes-${element.id}`;
  const known = document.getElementById(id);
  if (known) return known;
  const list = document.createElement("ul");
  list.className = "notes";
  list.id = id;
  (row ? row.querySelector(".row-notes td") : element.closest(".part, .block"))?.append(list);
  return list;
}

function clearMarks(form) {
  for (const control of form.querySelectorAll("[data-kind][data-severity], [data-kind][aria-describedby]")) {
    for (const name of ["data-severity", "data-blank", "aria-invalid", "aria-describedby"]) control.removeAttribute(name);
  }
  for (const list of form.querySelectorAll(".row-notes td")) list.replaceChildren();
  for (const list of form.querySelectorAll(".notes")) list.replaceChildren();
}

function clearFields(form) {
  clearMarks(form);
  for (const badge of form.querySelectorAll(".weight")) badge.remove();
}

/** A cell that is still empty in the row being typed is no mistake yet: it is marked when the row is left. */
const underway = (element) =>
  element.matches("[data-kind]") && !element.value && element.closest(".row")?.contains(document.activeElement);

let shown = [];

function markFields(form, findings) {
  shown = findings;
  const tallies = new Map();
  for (const finding of findings) {
    const { element } = finding;
    if (!element || underway(element)) continue;
    const notes = notesFor(element);
    notes.append(note(finding));
    if (element.matches("[data-kind]")) {
      // Findings come gravest first, so the first one gives the colour.
      if (!element.dataset.severity) element.dataset.severity = finding.severity;
      // What is merely missing shows its text when the cursor comes: a fresh form is not a wall of red.
      element.toggleAttribute("data-blank", !element.value);
      notes.classList.toggle("blank", !element.value);
      if (finding.severity === "error") element.setAttribute("aria-invalid", "true");
      element.setAttribute("aria-describedby", notes.id);
    }
    const part = element.closest(".part")?.id;
    const tally = tallies.get(part) ?? { count: 0, severity: finding.severity };
    tally.count += 1;
    tallies.set(part, tally);
  }
  for (const link of form.querySelectorAll(".jump a")) {
    const tally = tallies.get(`part-${link.dataset.part}`);
    const place = link.querySelector(".tally");
    place.textContent = tally?.count ?? "";
    place.dataset.severity = tally?.severity ?? "";
  }
}

/** Marks the fields again, after a row was left. */
export function markAgain(form) {
  for (const finding of shown) if (finding.element && !finding.element.isConnected) return;
  clearMarks(form);
  markFields(form, shown);
}

function showGroup(result, report, list) {
  const group = report.group;
  const section = result.querySelector(".group");
  section.hidden = false;
  section.dataset.reason = group?.reason ?? "";
  section.querySelector("[data-grouped]").hidden = !group;
  section.querySelector("[data-asks]").hidden = !group;
  const ungrouped = section.querySelector("[data-text=ungrouped]");
  ungrouped.hidden = Boolean(group);
  ungrouped.textContent = report.ungrouped || "没有分组结果。";
  if (!group) return;
  fill(section, { code: group.code, name: group.name, mdc: group.mdc, adrg: group.adrg, explanation: group.explanation });
  section.querySelector(".path").hidden = !group.mdc;
  const received = new Map((group.diagnoses ?? []).map((item) => [item.used, item.received]));
  const rows = list.rows("diseinfo").map((row) => ({
    code: document.getElementById(`${row.id}.diag_code`),
    name: document.getElementById(`${row.id}.diag_name`)?.value ?? "",
  }));
  const counted = (group.complications ?? [])
    .filter((item) => item.level)
    .map((item) => {
      const row = rows.find(({ code }) => [item.code, received.get(item.code)].includes(code.value.trim()));
      return { ...item, row, name: row?.name ?? "", note: item.excluded ? "因主要诊断排除，不计" : "" };
    });
  show(section.querySelector("[data-complications] ul"), counted, "complication", (piece, item) => {
    piece.querySelector(".level").dataset.level = item.level;
    if (!item.row || item.excluded) return;
    const badge = document.createElement("span");
    badge.className = "weight";
    badge.dataset.level = badge.textContent = item.level;
    item.row.code.after(badge);
  });
  const converted = [...(group.diagnoses ?? []), ...(group.procedures ?? [])]
    .filter((item) => item.reason)
    .map((item) => ({ ...item, received: item.received || "（空）", used: item.used || "不参与分组" }));
  show(section.querySelector("[data-prepared] ul"), converted, "prepared");
}

/** Compares two elements by their place on the page; none goes last. */
function inOrder(a, b) {
  if (!a || !b || a === b) return Number(!a) - Number(!b);
  return a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1;
}

/** Shows a report; returns its findings, gravest first and then from top to bottom, each with the element it is about. */
export function showReport(form, report, list) {
  const result = document.getElementById("result");
  const findings = [...report.findings]
    .map((finding) => ({ ...finding, element: list.find(finding.path) }))
    .sort((a, b) => RANK.indexOf(a.severity) - RANK.indexOf(b.severity) || inOrder(a.element, b.element));
  clearFields(form);
  result.dataset.state = "done";
  result.dataset.verdict = report.verdict;
  fill(result.querySelector(".verdict"), report);
  result.querySelector(".arc").setAttribute("stroke-dasharray", `${report.score} 100`);
  for (const [severity, label] of Object.entries(SEVERITIES)) {
    // What was accepted stays in the list below, but counts for nothing.
    const count = findings.filter((finding) => finding.severity === severity && !finding.accepted).length;
    const button = result.querySelector(`[data-count=${severity}]`);
    button.querySelector("b").textContent = count;
    button.setAttribute("aria-label", `${label} ${count} 个`);
  }
  showGroup(result, report, list);
  result.querySelector(".findings").hidden = false;
  result.querySelector(".none").hidden = findings.length > 0;
  const opened = new Set([...result.querySelectorAll(".finding:has(details[open])")].map((item) => item.dataset.key));
  show(document.getElementById("findings"), findings, "finding", (piece, finding) => {
    piece.dataset.severity = finding.severity;
    piece.dataset.key = `${finding.rule} ${finding.path}`;
    piece.querySelector("details").open = opened.has(piece.dataset.key);
    piece.querySelector("[data-text=severityLabel]").textContent = `${SEVERITIES[finding.severity]} `;
    piece.querySelector("[data-text=value]").textContent = finding.value || "（空）";
    if (finding.accepted) {
      const { by, reason, until } = finding.accepted;
      const accepted = `已接受（${by}：${reason}；${until ? `至 ${until}` : "长期"}）`;
      piece.querySelector("[data-text=message]").textContent = `${finding.message} ${accepted}`;
    }
    piece.querySelector(".place").href = `#${finding.element?.id ?? ""}`;
    // The name of the field is not said twice.
    if (finding.field && finding.message.replace(/^“/, "").startsWith(finding.field)) {
      piece.querySelector("[data-text=field]").textContent = "";
    }
    if (finding.rule === "ACC-001") piece.querySelector("[data-rule]").removeAttribute("href"); // no rule of the catalogue
    else piece.querySelector("[data-rule]").href = `${base}/rules/${encodeURIComponent(finding.rule)}`;
  });
  const packs = result.querySelector(".packs");
  packs.hidden = !report.packs?.length;
  show(packs.querySelector("ul"), report.packs ?? [], "pack");
  markFields(form, findings);
  document.getElementById("spoken").textContent = `${report.verdict}，${report.score} 分，${findings.length} 个问题`;
  return findings;
}

export function showEmpty(form) {
  const result = document.getElementById("result");
  result.dataset.state = "empty";
  delete result.dataset.verdict;
  document.getElementById("beside").replaceChildren();
  clearFields(form);
  markFields(form, []);
  document.getElementById("spoken").textContent = "";
}

export function showFailure(text) {
  const place = document.getElementById("failure");
  place.textContent = text;
  place.hidden = !text;
}

/** Brings the element of a finding into view and puts the cursor there. */
export function goTo(element) {
  if (!element) return;
  const target = element.matches(".row") ? element.querySelector("[data-kind]") : element;
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  target.classList.remove("arrived");
  requestAnimationFrame(() => target.classList.add("arrived"));
  target.addEventListener("animationend", () => target.classList.remove("arrived"), { once: true });
}
