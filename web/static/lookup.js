// Code look-up in code and name cells: an editable combobox with a list of candidates.

const base = document.documentElement.dataset.base;
const PAUSE = 130;
const SHOWN = 12;

const hits = document.getElementById("hits");
let input = null; // the cell that the candidates belong to
let found = [];
let awaited = false; // candidates for the present text are still on their way; those shown are for an earlier one
let wanted = null; // what to tell of the first candidate as soon as they are there
let active = -1;
let timer = 0;
let request = null;

export const isOpen = () => !hits.hidden;

export function close() {
  clearTimeout(timer);
  request?.abort();
  hits.hidden = true;
  input?.setAttribute("aria-expanded", "false");
  input?.removeAttribute("aria-activedescendant");
  found = [];
  awaited = false;
  wanted = null;
  active = -1;
}

function activate(index) {
  hits.children[active]?.setAttribute("aria-selected", "false");
  active = (index + found.length) % found.length;
  const item = hits.children[active];
  item.setAttribute("aria-selected", "true");
  item.scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", item.id);
}

function piece(name, text, className = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function candidate(hit, index) {
  const item = document.createElement("li");
  item.id = `hit-${index}`;
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", "false");
  const flag = hit.grey ? piece("span", "灰码，不可用于清单", "flag grey") : piece("span", hit.kind ?? "", hit.kind ? "flag" : "");
  item.append(piece("code", hit.code), piece("span", hit.name), flag);
  if (hit.matched && hit.matched !== hit.name) item.append(piece("span", hit.explanation, "reason"));
  return item;
}

function show() {
  hits.replaceChildren(...found.map(candidate));
  if (!found.length) {
    const item = piece("li", "没有找到，可换名称中的其他字、别名或拼音首字母", "nothing");
    hits.append(item);
  }
  const box = input.getBoundingClientRect();
  hits.hidden = false;
  hits.style.left = `${Math.max(8, Math.min(box.left, innerWidth - hits.offsetWidth - 16)) + scrollX}px`;
  const below = box.bottom + hits.offsetHeight + 8 < innerHeight || box.top < hits.offsetHeight;
  hits.style.top = `${(below ? box.bottom + 3 : box.top - hits.offsetHeight - 3) + scrollY}px`;
  input.setAttribute("aria-expanded", "true");
  if (found.length) activate(0);
}

async function search() {
  const query = input.value.trim();
  request?.abort();
  request = new AbortController();
  const [system] = input.dataset.lookup.split(":");
  const asked = new URLSearchParams({ q: query, system, limit: SHOWN });
  try {
    const response = await fetch(`${base}/api/v1/codes?${asked}`, { signal: request.signal });
    if (!response.ok) throw new Error(response.status);
    const answer = await response.json();
    found = answer.hits ?? answer;
    awaited = false;
    if (document.activeElement !== input) return;
    show();
    if (wanted && found.length) choose(0, wanted);
    wanted = null;
  } catch (error) {
    // A newer search took over, or the service is away: the check beside the form says so.
    if (error.name !== "AbortError") close();
  }
}

export function typed(control) {
  if (input !== control) close();
  input = control;
  wanted = null;
  clearTimeout(timer);
  if (control.value.trim().length < 2) close();
  else {
    awaited = true;
    timer = setTimeout(search, PAUSE);
  }
}

function choose(index, chosen) {
  const hit = found[index];
  const [, half] = input.dataset.lookup.split(":");
  const row = input.id.slice(0, input.id.lastIndexOf("."));
  const partner = document.getElementById(`${row}.${input.dataset.partner}`);
  input.value = half === "code" ? hit.code : hit.name;
  partner.value = half === "code" ? hit.name : hit.code;
  const control = input;
  close();
  chosen(control, hit);
}

/** Handles a key in a combobox; true when the key was used. */
export function key(event, chosen) {
  const control = event.target;
  if (awaited && input === control && event.key === "Enter" && !(event.shiftKey || event.altKey || event.ctrlKey)) {
    wanted = chosen;
    clearTimeout(timer);
    search();
    return true;
  }
  if (!isOpen() || input !== control) {
    if (event.key === "ArrowDown" && !event.altKey && control.value.trim().length >= 2) {
      close();
      input = control;
      search();
      return true;
    }
    return false;
  }
  if (event.key === "Escape") close();
  else if (event.key === "Tab") return close(), false;
  else if (!found.length || event.altKey || event.ctrlKey) return false;
  else if (event.key === "ArrowDown") activate(active + 1);
  else if (event.key === "ArrowUp") activate(active - 1);
  else if (event.key === "Enter" && !event.shiftKey) choose(active, chosen);
  else return false;
  return true;
}

export function listen(chosen) {
  hits.addEventListener("mousedown", (event) => {
    // Keep the cursor in the cell: its leaving would close the list before the click counts.
    event.preventDefault();
    const item = event.target.closest("[role=option]");
    if (item) choose([...hits.children].indexOf(item), chosen);
  });
  document.addEventListener("focusout", (event) => event.target === input && close());
}
