// Filters the rule catalogue while typing.

const controls = ["filter", "family", "severity", "runs"].map((id) => document.getElementById(id));
const [filter, family, severity, runs] = controls;
const rows = [...document.querySelectorAll(".catalogue tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);

function apply() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const [row, text] of rows) {
    const fits =
      words.every((word) => text.includes(word)) &&
      [["family", family], ["severity", severity], ["runs", runs]].every(([key, control]) => !control.value || row.dataset[key] === control.value);
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `显示 ${shown} 条`;
}

for (const control of controls) control.addEventListener("input", apply);
apply();
