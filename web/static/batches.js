// Hands a file in with its progress, keeps the running batches up to date, cancels and resumes.

const base = document.documentElement.dataset.base;
const address = `${base}/api/v1/batches`;
const notice = document.getElementById("notice");
const ENDED = ["done", "failed", "cancelled"];

function say(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

function problemOf(text, status) {
  try {
    return JSON.parse(text).detail;
  } catch {
    return `没有成功（${status}），请稍后再试`;
  }
}

const form = document.getElementById("upload");
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const file = form.elements.file.files[0];
  if (!file) return;
  if (file.size > Number(form.dataset.limit)) {
    say(`文件有 ${file.size} 字节，超过上限 ${form.dataset.limit} 字节；请分成几个，或在服务器上运行 qingdan batch run`);
    return;
  }
  const query = new URLSearchParams({ month: form.elements.month.value, name: file.name });
  for (const name of ["by", "region", "scheme", "payment"]) {
    if (form.elements[name].value) query.set(name, form.elements[name].value);
  }
  const mapping = form.elements.mapping.files[0];
  if (mapping?.size) {
    query.set("mapping", mapping.name);
    query.set("mapping_bytes", mapping.size);
  }
  const bar = document.getElementById("sent");
  const button = form.querySelector("button");
  // Of all ways to send, only this one tells how much has been sent.
  const request = new XMLHttpRequest();
  request.open("POST", `${address}?${query}`);
  request.setRequestHeader("content-type", "application/octet-stream");
  request.upload.addEventListener("progress", (sent) => { bar.value = sent.loaded / sent.total; });
  request.addEventListener("loadend", () => {
    button.disabled = false;
    bar.hidden = true;
    if (request.status === 200) location.assign(`${base}/batches/${JSON.parse(request.responseText).id}`);
    else say(request.status ? problemOf(request.responseText, request.status) : "上传中断，请检查网络后重试");
  });
  say("");
  button.disabled = true;
  bar.hidden = false;
  // The server takes the mapping from the front of the body.
  request.send(mapping?.size ? new Blob([mapping, file]) : file);
});

// Says whether a payment pack holds for the region and month, as the server does for what it filled in.
function price() {
  const { month, payment } = form.elements;
  // Left empty, the region is that of the service.
  const region = form.elements.region.value || form.dataset.region;
  const holds = [...payment.options].some((one) => one.value && region.startsWith(one.dataset.region)
    && one.dataset.from.slice(0, 7) <= month.value && month.value <= (one.dataset.to || "9999-12").slice(0, 7));
  const note = document.getElementById("unpriced");
  note.hidden = holds || payment.value !== "";
  note.querySelector('[data-show="why"]').textContent = region ? `没有适用于地区 ${region} 的支付数据包` : "没有填写统筹地区";
}
if (form) {
  form.addEventListener("input", price);
  price();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-act-run]");
  if (!button) return;
  button.disabled = true;
  const answer = await fetch(`${address}/${button.dataset.run}/${button.dataset.actRun}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  if (answer.ok) location.reload();
  else {
    say(problemOf(await answer.text(), answer.status));
    button.disabled = false;
  }
});

// What was not read, whole files apart from rows, as the server writes it.
function unread(run) {
  const rows = `${run.rejected - run.rejected_files} 行`;
  return run.rejected_files ? `${run.rejected_files} 个文件、${rows}` : rows;
}

async function update() {
  const active = [...document.querySelectorAll("[data-run][data-state]")].filter((one) => !ENDED.includes(one.dataset.state));
  // The list is cheap; a run by itself is counted through each time.
  const answer = active.length ? await fetch(address).catch(() => null) : null;
  const runs = answer?.ok ? await answer.json() : [];
  for (const place of active) {
    const run = runs.find((one) => one.id === Number(place.dataset.run));
    if (!run) continue;
    // What the page shows of another state is the server's to say.
    if (run.state !== place.dataset.state) return location.reload();
    place.querySelector('[data-show="lists"]').textContent = run.lists;
    place.querySelector('[data-show="rejected"]').textContent = unread(run);
    const bar = place.querySelector("progress");
    if (bar) bar.value = run.share;
    const left = place.querySelector('[data-show="left"]');
    if (left && run.rate) left.textContent = `${Math.round(run.rate)} 份/秒` + (run.seconds_left === null ? "" : `，约剩 ${run.seconds_left} 秒`);
  }
  if (active.length) setTimeout(update, 1500);
}

update();
