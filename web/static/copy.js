// Copying and printing on the pages about a group, whether they stand alone or in a dialog.

/** Copies the text of a read-only field; pages without a secure address have no clipboard of their own. */
async function copy(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.focus();
    field.select();
    return document.execCommand("copy");
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy], [data-print]");
  if (!button) return;
  if (button.matches("[data-print]")) return print();
  const done = await copy(document.getElementById(button.dataset.copy));
  button.parentElement.querySelector("[data-copied]").textContent = done ? "已复制" : "不能复制，请选中文本后按 Ctrl+C";
});
