// Headings sort their table, a button copies it; without JavaScript all is there to read.
"use strict";

const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

/** 0.303 of "0.303 ± 0.013 (2 s)", 4 of "3, 5", 1000 of "1,000"; NaN of other text. */
function numberOf(text) {
  const parts = text.replace(/\s*[±(].*/, "").split(", ");
  const numbers = parts.map((part) => (part ? Number(part.replaceAll(",", "")) : NaN));
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

/** The rows by the text of one column: by number where all are numbers, "-" at the end. */
function sorted(rows, column, order) {
  if (order === "none") return rows;
  const text = (row) => row.cells[column].textContent;
  const [known, missing] = [[], []];
  for (const row of rows) (text(row) === "-" ? missing : known).push(row);
  const isNumeric = known.every((row) => !Number.isNaN(numberOf(text(row))));
  const compare = isNumeric
    ? (a, b) => numberOf(text(a)) - numberOf(text(b))
    : (a, b) => text(a).localeCompare(text(b), "en", { numeric: true });
  const sign = order === "ascending" ? 1 : -1;
  return [...known.sort((a, b) => sign * compare(a, b)), ...missing];
}

function makeSortable(table) {
  const rows = [...table.tBodies[0].rows];
  const headings = [...table.tHead.rows[0].cells];
  for (const [column, heading] of headings.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const order = NEXT[heading.getAttribute("aria-sort")];
      for (const each of headings) each.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", order);
      table.tBodies[0].append(...sorted(rows, column, order));
    });
  }
}

/** Tab-separated, as spreadsheets take it; where the clipboard is closed, it is selected. */
function makeCopyable(table) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy table";
  button.setAttribute("aria-live", "polite");
  table.closest("figure").querySelector("figcaption").append(button);
  button.addEventListener("click", async () => {
    const cells = (row) => [...row.cells].map((cell) => cell.textContent).join("\t");
    try {
      await navigator.clipboard.writeText([...table.rows].map(cells).join("\n") + "\n");
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(table);
      button.textContent = "Selected: now copy";
    }
    setTimeout(() => (button.textContent = "Copy table"), 2000);
  });
}

for (const table of document.querySelectorAll("table")) {
  makeSortable(table);
  makeCopyable(table);
}
