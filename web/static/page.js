// The page of one list: checks while typing, opens and exports lists, and everything by keyboard.

import { adviseSoon, clearAdvice } from "./advice.js";
import { addPicker, official } from "./dates.js";
import { addRow, completeRow, controlsOf, moveRow, readList, removeRow, tidy } from "./list.js";
import * as lookup from "./lookup.js";
import { goTo, markAgain, showEmpty, showFailure, showReport } from "./result.js";
import * as textBox from "./text_box.js";

const base = document.documentElement.dataset.base;
const PAUSE = 300;
const byId = (id) => document.getElementById(id);
const form = () => byId("list");

let timer = 0;
let request = null;
let dirty = false;
let findings = [];
let current = -1;

// Checking

async function check() {
  clearTimeout(timer);
  request?.abort();
  const result = byId("result");
  const list = readList(form());
  if (list.empty) {
    delete result.dataset.due;
    findings = [];
    showFailure("");
    showEmpty(form());
    clearAdvice();
    return;
  }
  const mine = (request = new AbortController());
  result.dataset.busy = "";
  delete result.dataset.due;
  try {
    const response = await fetch(checkAddress(), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(list.message),
      signal: mine.signal,
    });
    const answer = await response.json();
    if (mine.signal.aborted) return;
    if (!response.ok) {
      showFailure(answer.detail ?? `检查未能完成（${response.status}）`);
      return;
    }
    showFailure("");
    findings = showReport(form(), answer, list);
    current = -1;
    await showBeside(mine.signal);
    adviseSoon();
  } catch (error) {
    if (error.name !== "AbortError") showFailure("连接不到服务，显示的是上一次的结果。请确认服务正在运行，继续录入时会自动重试。");
  } finally {
    if (request === mine) delete result.dataset.busy;
  }
}

/** A list of a batch is checked where its masked fields are known. */
function checkAddress() {
  const { _list, _base } = form().elements;
  return _list ? `${base}/lists/check?${new URLSearchParams({ list: _list.value, base: _base.value })}` : `${base}/api/v1/check`;
}

/** DRG payment and DIP, worked out and laid out by the server. */
async function showBeside(signal) {
  const body = new URLSearchParams(new FormData(form()));
  const response = await fetch(`${base}/beside`, { method: "POST", body, signal });
  const arrived = new DOMParser().parseFromString(response.ok ? await response.text() : "", "text/html");
  if (signal.aborted) return;
  const place = byId("beside");
  const open = [...place.querySelectorAll("details")].map((one) => one.open);
  place.replaceChildren(...document.adoptNode(arrived.body).childNodes);
  place.querySelectorAll("details").forEach((one, at) => (one.open = open[at] ?? false));
}

function changed() {
  dirty = true;
  clearTimeout(timer);
  byId("result").dataset.due = ""; // what is shown does not speak of the last change yet
  timer = setTimeout(check, PAUSE);
}

// The form

function enhance() {
  for (const table of document.querySelectorAll("table.rows")) tidy(table);
  watchParts();
}

function showName(input) {
  const said = input.nextElementSibling;
  const values = input.list;
  if (!values || !said?.matches(".said")) return;
  said.textContent = [...values.options].find((option) => option.value === input.value.trim())?.textContent ?? "";
}

/** A page of the server; a refusal is thrown as an error with its reason. */
async function pageFrom(address, options) {
  const response = await fetch(address, options);
  if (!/^text\/html/.test(response.headers.get("content-type") ?? "")) {
    const problem = await response.json().catch(() => ({}));
    throw new Error(problem.detail ?? `未能完成（${response.status}）`);
  }
  const arrived = new DOMParser().parseFromString(await response.text(), "text/html");
  const reason = () => arrived.querySelector(".notices, #main > .part")?.textContent.trim();
  if (!response.ok) throw new Error(reason() || `未能完成（${response.status}）`);
  return arrived;
}

/** Shows a page about the group of this list over the form. */
async function about(address) {
  const body = new URLSearchParams(new FormData(form()));
  const arrived = await pageFrom(address, { method: "POST", body });
  const dialog = byId("about");
  dialog.replaceChildren(document.adoptNode(arrived.getElementById("about-group")));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  dialog.querySelector("[aria-current]")?.focus();
}

/** Puts another form and result, made by the server, in the place of what is shown. */
async function swap(path, options) {
  const arrived = await pageFrom(`${base}${path}`, options);
  lookup.close();
  textBox.flush();
  clearAdvice();
  byId("main").replaceWith(document.adoptNode(arrived.getElementById("main")));
  enhance();
  await check();
}

async function mayDiscard() {
  if (!dirty || readList(form()).empty) return true;
  const dialog = byId("ask");
  dialog.returnValue = "no"; // Escape gives no value of its own
  dialog.showModal();
  dialog.querySelector("[value=no]").focus();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  return dialog.returnValue === "yes";
}

/** Opens a list in place of the one shown; a refusal is thrown as an error with its reason. */
async function open(body, type) {
  await swap("/open", { method: "POST", headers: { "Content-Type": type }, body });
  dirty = false;
  scrollTo({ top: 0 });
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    showFailure(error instanceof TypeError ? "连接不到服务，请确认服务正在运行后重试。" : error.message);
  }
}

let undo = null;
let toastTimer = 0;

function toast(text, back) {
  const place = byId("toast");
  place.querySelector("span").textContent = text;
  place.querySelector("button").hidden = !back;
  place.hidden = false;
  undo = back;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (place.hidden = true), 8000);
}

function act(name, row, table) {
  if (name === "add") return addRow(table);
  if (!row) return;
  if (name === "remove") {
    if (row.classList.contains("vacant")) return;
    const number = row.querySelector(".number").textContent;
    const back = removeRow(row);
    toast(`已删除${table.dataset.label}第 ${number} 行`, back);
  } else if (!moveRow(row, name === "up")) return;
  changed();
}

// Moving about

const steps = () =>
  [...document.querySelectorAll("#list [data-kind]")].filter((control) => control.checkVisibility?.() ?? control.offsetParent);

function step(control, by) {
  const all = steps();
  const next = all[all.indexOf(control) + by];
  next?.focus();
  if (next?.select && next.matches("input")) next.select();
}

/** The finding after (by 1) or before (by -1) the focused field on the page; the one gone to last counts as its field. */
function fromFocus(shown, by) {
  const here = document.activeElement?.closest("#list") && document.activeElement;
  const at = shown[current]?.element;
  const stays = at && (at === here || at.contains?.(here) || !here);
  if (stays || !here) return (current + by + shown.length + (current < 0 && by < 0 ? 1 : 0)) % shown.length;
  const mask = by > 0 ? Node.DOCUMENT_POSITION_FOLLOWING : Node.DOCUMENT_POSITION_PRECEDING;
  const beyond = shown.filter(({ element }) => here.compareDocumentPosition(element) & mask);
  const pool = beyond.length ? beyond : shown;
  const nearest = pool.reduce((best, one) =>
    Boolean(best.element.compareDocumentPosition(one.element) & Node.DOCUMENT_POSITION_PRECEDING) === by > 0 ? one : best,
  );
  return shown.indexOf(nearest);
}

function nextFinding(by) {
  const shown = findings.filter((finding) => finding.element);
  if (!shown.length) return;
  current = fromFocus(shown, by);
  const items = [...byId("findings").children];
  items.forEach((item) => item.classList.remove("current"));
  const item = items[findings.indexOf(shown[current])];
  item?.classList.add("current");
  item?.scrollIntoView({ block: "nearest" });
  goTo(shown[current].element);
}

function nextPart(by) {
  const parts = [...document.querySelectorAll(".part[id^=part-]")];
  const here = document.activeElement?.closest(".part");
  const next = parts[Math.max(0, Math.min(parts.length - 1, here ? parts.indexOf(here) + by : 0))];
  const first = controlsOf(next)[0] ?? next.querySelector("h2");
  first.focus({ preventScroll: true });
  next.scrollIntoView();
}

let parts = null;

function watchParts() {
  parts?.disconnect();
  const seen = new Set();
  parts = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      const first = [...document.querySelectorAll(".part")].find((part) => seen.has(part.id));
      for (const link of document.querySelectorAll(".jump a")) {
        if (`part-${link.dataset.part}` === first?.id) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    },
    { rootMargin: "-100px 0px -40% 0px" },
  );
  for (const part of document.querySelectorAll(".part")) parts.observe(part);
}

// Events: all on the document, since the form is exchanged when another list is opened

function chosen(control, hit) {
  const row = control.closest(".row");
  if (row) {
    completeRow(row, form());
    tidy(row.closest("table"));
  }
  if (hit.grey) toast(`${hit.code} 是灰码，不能用于结算清单`);
  changed();
}

lookup.listen(chosen);
textBox.listen({ chosen, toast });

document.addEventListener("input", (event) => {
  const control = event.target;
  if (!control.matches?.("#list [data-kind]")) return;
  const table = control.closest("table.rows");
  if (table) tidy(table);
  if (event.isComposing) return;
  if (control.dataset.lookup) lookup.typed(control);
  changed();
});

document.addEventListener("compositionend", (event) => {
  const control = event.target;
  if (!control.matches("#list [data-kind]")) return;
  if (control.dataset.lookup) lookup.typed(control);
  changed();
});

document.addEventListener("change", (event) => {
  const control = event.target;
  if (control.id === "interface") {
    const body = new URLSearchParams(new FormData(form()));
    attempt(async () => {
      await swap("/", { method: "POST", body });
      byId("interface").focus();
    });
    return;
  }
  if (control.id === "file") {
    const [file] = control.files;
    if (!file) return;
    attempt(async () => {
      if (await mayDiscard()) await open(await file.arrayBuffer(), "application/octet-stream");
    }).finally(() => (control.value = ""));
    return;
  }
  if (!control.matches("#list [data-kind]")) return;
  if (["date", "datetime", "duration"].includes(control.dataset.kind)) {
    const settled = official(control.value, control.dataset.kind);
    if (settled !== control.value) {
      control.value = settled;
      changed();
    }
  }
  showName(control);
});

document.addEventListener("focusin", (event) => {
  const control = event.target;
  if (control.matches("#list input:is([data-kind=date], [data-kind=datetime])") && !control.parentElement.querySelector(".picker")) {
    addPicker(control);
  }
});

document.addEventListener("focusout", (event) => {
  const row = event.target.closest?.("#list .row");
  // Once the cursor has arrived elsewhere; moving within the row changes nothing.
  if (row && !row.contains(event.relatedTarget)) setTimeout(() => form().contains(row) && markAgain(form()));
});

document.addEventListener("submit", (event) => {
  const { target, submitter } = event;
  if (target.id === "samples") {
    event.preventDefault();
    const body = new URLSearchParams(new FormData(target));
    attempt(async () => {
      if (await mayDiscard()) await open(body, "application/x-www-form-urlencoded");
    });
  } else if (target.matches(".views")) {
    event.preventDefault();
    if (submitter.matches("[data-back]")) target.closest("dialog").close();
    else attempt(() => about(submitter.formAction));
  } else if (target.id === "list") {
    if (submitter?.matches("[data-about]")) {
      event.preventDefault();
      attempt(() => about(submitter.formAction));
      return;
    }
    if (submitter?.hasAttribute("formaction")) {
      dirty = false; // the list goes out as a file
      return;
    }
    event.preventDefault();
    check();
  } else if (submitter?.value === "open") {
    event.preventDefault();
    pasteNow(target.closest("dialog"));
  }
});

async function pasteNow(dialog) {
  const failure = byId("paste-error");
  try {
    await open(byId("payload").value, "application/json");
    byId("payload").value = "";
    dialog.close();
  } catch (error) {
    failure.textContent = error instanceof TypeError ? "连接不到服务，请稍后重试。" : error.message;
    failure.hidden = false;
    byId("payload").focus();
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button, a");
  if (!button) return;
  if (button.dataset.act) {
    act(button.dataset.act, button.closest(".row"), document.querySelector(`table[data-node="${button.dataset.node ?? button.closest(".row").dataset.node}"]`));
  } else if (button.dataset.count) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", shown);
    const hidden = [...document.querySelectorAll("[data-count][aria-pressed=false]")].map((one) => one.dataset.count);
    document.querySelector(".findings").dataset.hide = hidden.join(" ");
  } else if (button.matches(".finding .place")) {
    event.preventDefault();
    const items = [...byId("findings").children];
    const index = items.indexOf(button.closest(".finding"));
    items.forEach((item, at) => item.classList.toggle("current", at === index));
    current = findings.filter((finding) => finding.element).indexOf(findings[index]);
    goTo(findings[index]?.element);
  } else if (button.id === "paste-open") {
    attempt(async () => {
      if (!(await mayDiscard())) return;
      byId("paste-error").hidden = true;
      byId("paste").showModal();
      byId("payload").focus();
    });
  } else if (button.id === "file-open") byId("file").click();
  else if (button.id === "help-open") byId("help").showModal();
  else if (button.id === "clear") {
    event.preventDefault();
    attempt(async () => {
      if (!(await mayDiscard())) return;
      await swap("/", {});
      dirty = false;
      document.querySelector("#list [data-kind]").focus();
    });
  } else if (button.closest("#toast")) {
    byId("toast").hidden = true;
    undo?.();
    changed();
  }
});

document.addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, shiftKey, altKey, metaKey } = event;
  if (event.isComposing || document.querySelector("dialog[open]")) return;
  const use = (action) => {
    event.preventDefault();
    action();
  };
  if (target.dataset?.lookup && lookup.key(event, chosen)) return event.preventDefault();
  if (textBox.key(event)) return event.preventDefault();
  const typing = target.matches("input, select, textarea");
  const row = target.closest(".row");
  const table = target.closest("table.rows");
  if (key === "F8") use(() => nextFinding(shiftKey ? -1 : 1));
  else if (key === "F1" || (key === "?" && !typing)) use(() => byId("help").showModal());
  else if (altKey && event.code === "KeyG") use(() => document.querySelector("[data-asks]:not([hidden]) button")?.click());
  else if (key === "Enter" && (ctrlKey || metaKey)) use(check);
  else if (altKey && key === "PageDown") use(() => nextPart(1));
  else if (altKey && key === "PageUp") use(() => nextPart(-1));
  else if (altKey && row && key === "ArrowUp") use(() => act("up", row, table));
  else if (altKey && row && key === "ArrowDown") use(() => act("down", row, table));
  else if (altKey && row && key === "Delete") use(() => act("remove", row, table));
  else if (altKey && table && key === "Insert") use(() => act("add", row, table));
  else if (key === "Enter" && target.matches("#list [data-kind]")) use(() => step(target, shiftKey ? -1 : 1));
});

addEventListener("beforeunload", (event) => {
  if (dirty && !readList(form()).empty) event.preventDefault();
});

enhance();
check();
