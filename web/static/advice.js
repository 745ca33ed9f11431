// A neutral note on the listed diagnoses: selection requirements, combination codes, missing partners.

import { piece, post, stayContext } from "./text_box.js";

const PAUSE = 1200;

let timer = 0;
let request = null;
let shown = "";

const place = () => document.getElementById("advice");

export function clearAdvice() {
  clearTimeout(timer);
  request?.abort();
  shown = "";
  place().replaceChildren();
}

/** Asks again when the codes have changed, once typing has paused. */
export function adviseSoon() {
  const context = stayContext();
  const now = JSON.stringify(context);
  if (now === shown) return;
  clearTimeout(timer);
  if (!context.diagnoses.length) return clearAdvice();
  timer = setTimeout(() => advise(context, now), PAUSE);
}

async function advise(context, now) {
  request?.abort();
  const mine = (request = new AbortController());
  const text = document.getElementById("text-diagnosis")?.value ?? "";
  try {
    const advice = await post("suggest/advice", { context, text }, { signal: mine.signal });
    if (mine.signal.aborted) return;
    shown = now;
    show(advice, context.diagnoses);
  } catch (error) {
    // Beside the check, not part of it: without a model there is simply no note.
    if (error.name !== "AbortError") place().replaceChildren();
  }
}

function principalLines(choices, listed) {
  const order = (choice) => listed.findIndex((code) => code.toUpperCase() === choice.code.toUpperCase());
  const inList = choices.filter((choice) => order(choice) >= 0).sort((a, b) => order(a) - order(b));
  // Nothing to say where the first diagnosis meets the requirements as well as any other.
  if (inList.length < 2 && inList.every((choice) => choice.allowed)) return [];
  if (!inList.length || (inList[0].allowed && choices[0] === inList[0])) return [];
  return inList.map((choice) => [
    `${choice.code} ${choice.name}`,
    [choice.allowed ? choice.requirement : `不作主要诊断：${choice.requirement}`, ...(choice.reasons ?? [])].join("；"),
  ]);
}

function block(title, lines) {
  if (!lines.length) return [];
  const list = piece("dl", "", "advised");
  for (const [name, text] of lines) list.append(piece("dt", name), piece("dd", text));
  return [piece("h3", title), list];
}

function show(advice, listed) {
  const pieces = [
    ...block("主要诊断的选择要求（按清单次序）", principalLines(advice.principal, listed)),
    ...block("合并编码", advice.combinations.map((one) => [`${one.first} + ${one.second}`, `${one.reason}：${one.code} ${one.name}`])),
    ...block("更具体的编码", advice.more_specific.map((one) => [one.code, `${one.reason}：${one.instead} ${one.name}`])),
    ...block("剑号、星号编码", advice.partners.map((one) => [one.code, `${one.reason}（${one.name}）`])),
  ];
  const open = place().querySelector("details")?.open ?? false;
  if (!pieces.length) return place().replaceChildren();
  const note = piece("details", "", "group beside advice");
  note.open = open;
  const summary = piece("summary", "");
  summary.append(piece("h2", "编码提示"), piece("span", "供核对，以病历为准", "muted"));
  note.append(summary, ...pieces, piece("p", `依据：${advice.source}`, "muted"));
  place().replaceChildren(note);
}
