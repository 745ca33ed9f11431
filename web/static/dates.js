// Dates and durations as people type or paste them, put into the official form when the field is left.

const DATE = /^(\d{4})(?:[-/.年](\d{1,2})[-/.月](\d{1,2})日?|(\d{2})(\d{2}))(?:[T\s]*(\d{1,2})(?::|时)?(\d{2})(?:(?::|分)?(\d{2})秒?|分)?)?$/;

const two = (text) => String(text ?? "0").padStart(2, "0");

/** The official form of a date or time; what is not one stays as it is, for the check to name. */
export function official(text, kind) {
  const plain = text.normalize("NFKC").trim();
  if (kind === "duration") {
    const parts = /^(\d{1,5})[\s,，、天]+(\d{1,2})[\s,，、时]+(\d{1,2})分?$/.exec(plain);
    return parts ? parts.slice(1, 4).map(Number).join("/") : plain;
  }
  const found = DATE.exec(plain);
  if (!found) return plain;
  const [, year, m1, d1, m2, d2, hour, minute, second] = found;
  const day = `${year}-${two(m1 ?? m2)}-${two(d1 ?? d2)}`;
  if (kind === "date") return hour === undefined ? day : plain;
  return hour === undefined ? day : `${day} ${two(hour)}:${two(minute)}:${two(second)}`;
}

/** Gives a date field a button that opens the browser's own calendar. */
export function addPicker(input) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "picker";
  button.tabIndex = -1;
  button.setAttribute("aria-hidden", "true");
  button.title = "日历";
  button.append(document.getElementById("calendar").content.cloneNode(true));
  button.addEventListener("click", () => pick(input));
  input.after(button);
}

function pick(input) {
  const timed = input.dataset.kind === "datetime";
  const native = document.createElement("input");
  native.type = timed ? "datetime-local" : "date";
  native.className = "hidden-date";
  native.tabIndex = -1;
  native.setAttribute("aria-hidden", "true");
  native.value = timed ? input.value.trim().replace(" ", "T").slice(0, 16) : input.value.trim();
  input.parentElement.append(native);
  native.addEventListener("change", () => {
    input.value = official(native.value, input.dataset.kind);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
  native.addEventListener("blur", () => {
    native.remove();
  });
  native.focus({ preventScroll: true });
  native.showPicker();
}
