// Ctrl+Enter, or Command+Enter, presses the main button of the page: the one with data-key-run.

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
  const button = document.querySelector("[data-key-run]:not(:disabled)");
  if (!button) return;
  event.preventDefault();
  button.click();
});
