// Codes from what the doctor wrote: mentions in the text, their candidates, and acceptance by keyboard.

import { removeRow } from "./list.js";

const base = document.documentElement.dataset.base;
const PAUSE = 600;
const UNDO_TIME = 8000;
const MAXIMUM_CODES = 100;
const MAXIMUM_CODE = 64;
const IDENTITY = ["psn_name", "certno", "medcasno", "psn_no", "hi_no", "coner_name"];
const COLUMNS = { diseinfo: ["diag_code", "diag_name"], oprninfo: ["oprn_oprt_code", "oprn_oprt_name"] };

const valueOf = (id) => document.getElementById(id)?.value.trim() ?? "";
const boxOf = (element) => element.closest?.(".by-text");
const areaOf = (box) => box.querySelector("textarea");
const rowsOf = (node) => [...document.querySelectorAll(`table[data-node="${node}"] .row`)];
const optionsOf = (part) => [...part.querySelectorAll("[role=option]")].filter((one) => !one.closest("[data-done]"));

const known = new WeakMap(); // box → what it shows, and what was accepted from it
const stateOf = (box) => known.get(box) ?? known.set(box, { mentions: [], accepted: new Map() }).get(box);

let parts = { chosen() {}, toast() {} };
let timer = 0;
let request = null;
const unsent = new Set(); // choices to remember once they can no longer be undone

export const codesIn = (node) =>
  rowsOf(node)
    .map((row) => valueOf(`${row.id}.${COLUMNS[node][0]}`))
    .filter((code) => code && code.length <= MAXIMUM_CODE)
    .slice(0, MAXIMUM_CODES);

const department = () => valueOf("setlinfo.dscg_dept_name").slice(0, MAXIMUM_CODE);

/** What is known of the stay, without anything that says whose it is. */
export function stayContext() {
  const age = valueOf("setlinfo.age");
  const sex = valueOf("setlinfo.gend");
  return {
    sex: ["1", "2"].includes(sex) ? sex : "",
    age: /^\d{1,3}$/.test(age) && Number(age) <= 150 ? Number(age) : null,
    department: department(),
    diagnoses: codesIn("diseinfo"),
    procedures: codesIn("oprninfo"),
  };
}

/** POST, so that what the doctor wrote stands in no address. A refusal is thrown with its reason. */
export async function post(path, content, options = {}) {
  const response = await fetch(`${base}/api/v1/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
    ...options,
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail ?? `未能完成（${response.status}）`);
  return answer;
}

export function piece(name, text, className = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function say(box, text) {
  box.querySelector("[data-spoken]").textContent = text;
}

// Suggesting

async function suggest(box) {
  clearTimeout(timer);
  request?.abort();
  const text = areaOf(box).value;
  if (!text.trim()) return show(box, "", []);
  const mine = (request = new AbortController());
  box.dataset.busy = "";
  say(box, "正在推荐编码，第一次要装入模型，请稍候…");
  try {
    const asked = { text, kind: box.dataset.kind, context: stayContext(), limit: 5 };
    const answer = await post("suggest", asked, { signal: mine.signal });
    if (!mine.signal.aborted && box.isConnected) show(box, text, answer.mentions);
  } catch (error) {
    if (error.name === "AbortError") return;
    say(box, error instanceof TypeError ? "连接不到服务，请确认服务正在运行后重试。" : error.message);
  } finally {
    if (request === mine) delete box.dataset.busy;
  }
}

function show(box, text, mentions) {
  const state = stateOf(box);
  state.mentions = mentions;
  const characters = [...text]; // places count characters, not UTF-16 units
  const seen = [];
  let from = 0;
  mentions.forEach((mention, at) => {
    seen.push(characters.slice(from, mention.start).join(""));
    const mark = piece("mark", characters.slice(mention.start, mention.end).join(""));
    mark.dataset.status = mention.status;
    mark.dataset.at = at;
    seen.push(mark);
    from = mention.end;
  });
  seen.push(characters.slice(from).join(""));
  box.querySelector("[data-seen]").replaceChildren(...(mentions.length ? seen : []));
  box.querySelector(".mentions").replaceChildren(...mentions.map((mention) => mentionItem(box, mention)));
  const doubtful = mentions.filter((mention) => mention.status === "unsure").length;
  const told = mentions.length
    ? `${mentions.length} 项${doubtful ? `，其中 ${doubtful} 项没有有把握的匹配` : ""}。按 ↓ 到候选。`
    : text && "文字中没有可编码的内容。";
  say(box, told);
  reach(box);
}

function trustOf(box, probability) {
  if (probability >= Number(box.dataset.sure)) return ["high", "把握较大"];
  return probability >= Number(box.dataset.fair) ? ["fair", "一般"] : ["low", "不确定"];
}

function mentionItem(box, mention) {
  const item = piece("li", "", "mention");
  item.dataset.status = mention.status;
  const written = piece("p", "", "written");
  written.append(piece("b", mention.text));
  if (mention.certainty_text) written.append(piece("span", mention.certainty_text, "chip"));
  if (mention.status === "excluded") written.append(piece("span", "不编码", "muted"));
  else if (mention.status === "unsure") {
    const told = mention.candidates.length ? "没有有把握的匹配，下列供核对" : "没有有把握的匹配";
    written.append(piece("span", told, "doubt"));
  }
  item.append(written);
  if (mention.candidates.length) {
    const list = piece("ul", "");
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", `“${mention.text}”的候选`);
    list.append(...mention.candidates.map((candidate, at) => option(box, candidate, at)));
    item.append(list);
  }
  const code = stateOf(box).accepted.get(mention.text);
  if (code) settle(box, item, code);
  return item;
}

function option(box, candidate, at) {
  const item = piece("li", "");
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", "false");
  item.tabIndex = -1;
  const [trust, words] = trustOf(box, candidate.probability);
  const certainty = piece("span", words, "trust");
  certainty.dataset.trust = trust;
  item.append(piece("span", at + 1, "nth"), piece("code", candidate.code), piece("span", candidate.name, "name"), certainty);
  const remarks = piece("span", "", "remarks");
  if (candidate.grey) remarks.append(piece("span", "灰码", "flag grey"));
  if (codesIn(box.dataset.node).includes(candidate.code)) remarks.append(piece("span", "已在清单", "flag"));
  for (const flag of candidate.flags) if (!candidate.grey || !flag.includes("灰码")) remarks.append(piece("span", flag, "flag"));
  for (const warning of candidate.warnings) remarks.append(piece("span", warning, "flag warning"));
  remarks.append(piece("span", candidate.reasons.join("；"), "reason"));
  item.append(remarks);
  return item;
}

/** One candidate is in the order of the tab key: the first of the first mention that is still open. */
function reach(box, wanted = optionsOf(box)[0]) {
  for (const one of box.querySelectorAll("[role=option]")) {
    one.tabIndex = one === wanted ? 0 : -1;
    one.setAttribute("aria-selected", one === wanted && one === document.activeElement);
  }
}

function settle(box, item, code) {
  const row = rowsOf(box.dataset.node).find((one) => valueOf(`${one.id}.${COLUMNS[box.dataset.node][0]}`) === code);
  if (!row) return;
  item.dataset.done = code;
  item.querySelector(".settled")?.remove();
  const name = valueOf(`${row.id}.${COLUMNS[box.dataset.node][1]}`);
  item.querySelector(".written").append(piece("span", `✓ ${code} ${name}`, "settled"));
}

// Accepting

function accept(box, chosenOption) {
  const item = chosenOption.closest(".mention");
  const state = stateOf(box);
  const mention = state.mentions[[...box.querySelectorAll(".mention")].indexOf(item)];
  const candidate = mention.candidates[[...chosenOption.parentElement.children].indexOf(chosenOption)];
  const { node } = box.dataset;
  const [codeColumn, nameColumn] = COLUMNS[node];
  const listed = codesIn(node).includes(candidate.code);
  let row = null;
  if (!listed) {
    row = rowsOf(node).at(-1); // every table ends with an empty row
    document.getElementById(`${row.id}.${nameColumn}`).value = candidate.name;
    const control = document.getElementById(`${row.id}.${codeColumn}`);
    control.value = candidate.code;
    parts.chosen(control, candidate);
  }
  state.accepted.set(mention.text, candidate.code);
  settle(box, item, candidate.code);
  const kept = remember(box, mention, candidate, row);
  const told = listed ? `${candidate.code} 已在清单中，没有重复加入` : `已加入 ${candidate.code} ${candidate.name}`;
  say(box, told);
  const grey = candidate.grey ? "（灰码，不能用于结算清单）" : "";
  parts.toast(`${told}${grey}`, listed ? null : () => takeBack(box, item, mention, row, kept));
  const next = following(box, item);
  if (next) focusOn(box, next);
  else areaOf(box).focus();
}

function following(box, item) {
  const open = optionsOf(box);
  return open.find((one) => item.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING) ?? open[0];
}

function takeBack(box, item, mention, row, kept) {
  if (kept) {
    clearTimeout(kept.timer);
    unsent.delete(kept);
  }
  stateOf(box).accepted.delete(mention.text);
  delete item.dataset.done;
  item.querySelector(".settled")?.remove();
  if (row.isConnected) removeRow(row);
  if (box.isConnected) reach(box);
}

/** Remembers a choice once it can no longer be undone; never a text that says who the patient is. */
function remember(box, mention, candidate, row) {
  if (!box.querySelector("[data-remember]").checked) return null;
  const names = IDENTITY.map((wire) => valueOf(`setlinfo.${wire}`)).filter((value) => value.length > 1);
  if (names.some((name) => mention.text.includes(name))) return null;
  const content = { text: mention.text, codes: [candidate.code], kind: box.dataset.kind, department: department() };
  const kept = { box, content, row, column: COLUMNS[box.dataset.node][0] };
  kept.timer = setTimeout(() => send(kept), UNDO_TIME);
  unsent.add(kept);
  return kept;
}

async function send(kept) {
  clearTimeout(kept.timer);
  unsent.delete(kept);
  // A row that was deleted or recoded since was no choice.
  if (kept.row && (!kept.row.isConnected || valueOf(`${kept.row.id}.${kept.column}`) !== kept.content.codes[0])) return;
  try {
    await post("suggest/accepted", kept.content, { keepalive: true });
  } catch (error) {
    if (kept.box.isConnected) say(kept.box, `没有记住“${kept.content.text}”：${error.message}`);
  }
}

/** Sends what waits to be remembered: the form is about to be exchanged or closed. */
export function flush() {
  for (const kept of [...unsent]) send(kept);
}

// Moving about

function focusOn(box, one) {
  one.focus();
  reach(box, one);
  one.scrollIntoView({ block: "nearest" });
}

function move(box, from, by) {
  const all = optionsOf(box);
  const to = all[all.indexOf(from) + by];
  if (to) focusOn(box, to);
  else if (by < 0) areaOf(box).focus();
}

function moveMention(box, from, by) {
  const open = [...box.querySelectorAll(".mention")].filter((item) => optionsOf(item).length);
  const to = open[open.indexOf(from.closest(".mention")) + by];
  if (to) focusOn(box, optionsOf(to)[0]);
}

/** Handles a key in a box; true when the key was used. */
export function key(event) {
  const box = boxOf(event.target);
  if (!box || event.ctrlKey || event.altKey || event.metaKey) return false;
  const { target } = event;
  if (target === areaOf(box)) {
    const atEnd = target.selectionStart === target.value.length;
    const first = optionsOf(box)[0];
    if (event.key === "Escape") {
      const row = rowsOf(box.dataset.node).at(-1);
      document.getElementById(`${row.id}.${COLUMNS[box.dataset.node][0]}`).focus();
    } else if (event.key === "ArrowDown" && atEnd && first) focusOn(box, first);
    else return false;
    return true;
  }
  if (!target.matches("[role=option]")) return false;
  const mine = [...target.parentElement.children];
  if (event.key === "ArrowDown") move(box, target, 1);
  else if (event.key === "ArrowUp") move(box, target, -1);
  else if (event.key === "ArrowRight") moveMention(box, target, 1);
  else if (event.key === "ArrowLeft") moveMention(box, target, -1);
  else if (event.key === "Home") focusOn(box, mine[0]);
  else if (event.key === "End") focusOn(box, mine.at(-1));
  else if (event.key === "Enter" || event.key === " ") accept(box, target);
  else if (/^[1-9]$/.test(event.key)) {
    const wanted = mine[Number(event.key) - 1];
    if (wanted) accept(box, wanted);
  } else if (event.key === "Escape") areaOf(box).focus();
  else return false;
  return true;
}

export function listen(given) {
  parts = given;
  const typed = (event) => {
    const box = boxOf(event.target);
    if (!box || !event.target.matches("textarea") || event.isComposing) return;
    clearTimeout(timer);
    timer = setTimeout(() => suggest(box), PAUSE);
  };
  document.addEventListener("input", typed);
  document.addEventListener("compositionend", typed);
  document.addEventListener("focusin", (event) => {
    if (event.target.matches(".by-text [role=option]")) reach(boxOf(event.target), event.target);
  });
  document.addEventListener("click", (event) => {
    const box = boxOf(event.target);
    if (!box) return;
    const one = event.target.closest("[role=option]");
    const mark = event.target.closest("mark");
    if (one) accept(box, one);
    else if (mark) {
      const to = optionsOf(box.querySelectorAll(".mention")[mark.dataset.at])[0];
      if (to) focusOn(box, to);
    }
  });
  addEventListener("pagehide", flush);
}
