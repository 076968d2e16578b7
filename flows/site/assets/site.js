// The failed-only filter: buttons with `data-filter` (all, failed) show or hide what carries `data-success`.
// Of nested ones, an outer one (a section) is hidden when it says that all within it succeeded.
"use strict";

const buttons = document.querySelectorAll("button[data-filter]");

function apply(filter) {
  for (const element of document.querySelectorAll("[data-success]")) {
    element.hidden = filter === "failed" && element.dataset.success === "true";
  }
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(button.dataset.filter === filter));
  }
}

for (const button of buttons) {
  button.addEventListener("click", () => apply(button.dataset.filter));
}
