// The list in the form: read it as the message of the interface, and add, move and remove rows.

const PLACE = /^(\w+)(?:\[(\d+)\])?(?:\.(\w+))?$/;
const PLAIN_NUMBER = /^-?(0|[1-9]\d{0,14})(\.\d{1,6})?$/;
const NUMERIC = new Set(["number", "amount", "count"]);

export const controlsOf = (part) => [...part.querySelectorAll("input[data-kind], select[data-kind]")];

export const isVacant = (row) =>
  !row.querySelector("input[type=hidden]") && controlsOf(row).every((control) => !control.value.trim());

function extraOf(input) {
  try {
    return input?.value ? JSON.parse(input.value) : {};
  } catch {
    return {};
  }
}

function valuesOf(part, extra) {
  const values = {};
  for (const control of controlsOf(part)) {
    const text = control.value.trim();
    if (!text) continue;
    const wire = control.name.slice(control.name.lastIndexOf(".") + 1);
    // What is not a plain number goes as it was typed: the check says what is wrong with it.
    values[wire] = NUMERIC.has(control.dataset.kind) && PLAIN_NUMBER.test(text) ? Number(text) : control.value;
  }
  return { ...extraOf(extra), ...values };
}

/** The list as `{message, empty, find}`; `find(path)` is the element for the place of a finding. */
export function readList(form) {
  const named = (name) => form.elements.namedItem(name);
  const input = extraOf(named("_extra"));
  const stay = {};
  for (const block of form.querySelectorAll(".grid")) {
    if (!block.closest(".row")) Object.assign(stay, valuesOf(block));
  }
  const setlinfo = { ...extraOf(named("setlinfo._extra")), ...stay };
  if (Object.keys(setlinfo).length) input.setlinfo = setlinfo;
  const sent = {};
  for (const table of form.querySelectorAll("table.rows")) {
    const rows = [...table.querySelectorAll(".row")].filter((row) => !isVacant(row));
    sent[table.dataset.node] = rows;
    if (rows.length) {
      input[table.dataset.node] = rows.map((row) => valuesOf(row, row.querySelector("input[type=hidden]")));
    }
  }
  const find = (path) => {
    const found = PLACE.exec(path.replace(/^input\./, ""));
    if (!found) return document.getElementById("part-unplaced");
    const [, node, index, wire] = found;
    const row = index === undefined ? null : sent[node]?.[Number(index)];
    if (row) return (wire && document.getElementById(`${row.id}.${wire}`)) || row;
    return (
      document.getElementById(wire ? `${node}.${wire}` : node) ||
      (wire && document.getElementById("part-unplaced")) ||
      document.getElementById(node === "setlinfo" ? "title-list" : node)
    );
  };
  return {
    message: { infno: form.dataset.interface, input },
    empty: Object.keys(input).length === 0,
    find,
    rows: (node) => sent[node] ?? [],
  };
}

function renumber(table) {
  const { node, label } = table.dataset;
  table.querySelectorAll(".row").forEach((row, index) => {
    const before = row.id;
    const after = `${node}[${index}]`;
    row.querySelector(".number").textContent = index + 1;
    for (const control of controlsOf(row)) {
      control.setAttribute("aria-label", `${label}第 ${index + 1} 行 ${control.dataset.label}`);
    }
    for (const button of row.querySelectorAll("[data-act]")) {
      button.setAttribute("aria-label", button.getAttribute("aria-label").replace(/\d+/, index + 1));
    }
    if (before === after) return;
    row.id = after;
    for (const attribute of ["id", "name", "for", "aria-describedby"]) {
      for (const element of row.querySelectorAll(`[${attribute}*="["]`)) {
        element.setAttribute(attribute, element.getAttribute(attribute).replace(before, after));
      }
    }
  });
}

/** Every table ends with one empty row to type into. */
export function tidy(table) {
  const rows = [...table.querySelectorAll(".row")];
  if (!rows.length || !isVacant(rows.at(-1))) {
    const blank = table.parentElement.querySelector("template[data-blank]").content.cloneNode(true);
    table.insertBefore(blank, table.tFoot);
  }
  renumber(table);
  for (const row of table.querySelectorAll(".row")) row.classList.toggle("vacant", isVacant(row));
  total(table);
}

function total(table) {
  for (const output of table.querySelectorAll("[data-sum]")) {
    let fen = 0;
    for (const input of table.querySelectorAll(`input[name$=".${output.dataset.sum}"]`)) {
      const amount = input.value.trim();
      if (PLAIN_NUMBER.test(amount)) fen += Math.round(Number(amount) * 100);
    }
    output.textContent = fen ? (fen / 100).toFixed(2) : "";
  }
}

export function addRow(table) {
  tidy(table);
  const last = [...table.querySelectorAll(".row")].at(-1);
  controlsOf(last)[0].focus();
}

/** Takes a row away and returns what puts it back. */
export function removeRow(row) {
  const table = row.closest("table");
  const next = row.nextElementSibling;
  row.remove();
  tidy(table);
  const neighbour = next?.isConnected && next.matches(".row") ? next : [...table.querySelectorAll(".row")].at(-1);
  controlsOf(neighbour)[0].focus();
  return () => {
    table.insertBefore(row, next?.isConnected ? next : table.tFoot);
    tidy(table);
    controlsOf(row)[0].focus();
  };
}

/** Moves a row one place; says whether it could. */
export function moveRow(row, up) {
  const other = up ? row.previousElementSibling : row.nextElementSibling;
  if (!other?.matches(".row") || other.classList.contains("vacant") || row.classList.contains("vacant")) return false;
  const focused = document.activeElement;
  if (up) other.before(row);
  else other.after(row);
  renumber(row.closest("table"));
  if (row.contains(focused)) focused.focus();
  return true;
}

/** What a coder would fill in anyway beside a code that was looked up, where it is still empty. */
export function completeRow(row, form) {
  const first = row.querySelector(".number").textContent === "1";
  const kinds =
    form.dataset.interface === "4101A" && row.dataset.node === "diseinfo" ? ["1", "1"] : ["1", "2"];
  const usual = {
    diag_type: kinds[first ? 0 : 1],
    maindiag_flag: first ? "1" : "0",
    oprn_oprt_type: first ? "1" : "2",
  };
  for (const [wire, value] of Object.entries(usual)) {
    const control = document.getElementById(`${row.id}.${wire}`);
    if (control && !control.value) control.value = value;
  }
}
