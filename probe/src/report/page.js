"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const cell = (text) => {
    const formula = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text));
    const safe = formula ? "'" + text : text;
    return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  };
  const save = (name, rows) => {
    const text = rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = name + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const sort = (table, column, header) => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("thead th[aria-sort]")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => {
      const text = row.cells[column].textContent.trim();
      const number = Number.parseFloat(text);
      return text === "" || text === "–" ? null : header.classList.contains("number") ? number : text;
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
      return up ? order : -order;
    });
    body.append(...rows.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll("table[data-table]")) {
    const id = table.dataset.table;
    const figure = table.closest("figure");
    const rows = data.tables[id];
    if (rows) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "CSV";
      button.setAttribute("aria-label", "Download as CSV: " + table.caption.textContent);
      button.addEventListener("click", () => save(id, rows));
      figure.querySelector(".head").append(button);
    }
    if (table.tBodies[0].rows.length < 2) continue;
    const names = table.tHead.rows[table.tHead.rows.length - 1];
    [...names.cells].forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => sort(table, column, header));
    });
  }
  const tools = document.getElementById("filters");
  const table = document.querySelector('table[data-table="results"]');
  if (!tools || !table) return;
  tools.hidden = false;
  const rows = [...table.tBodies[0].rows];
  const count = document.getElementById("count");
  const selects = [...tools.querySelectorAll("select")];
  for (const select of selects) {
    const known = [...new Set(rows.map((row) => row.cells[select.dataset.column].textContent))].sort();
    for (const name of known) select.add(new Option(name, name));
  }
  const filter = () => {
    const words = tools.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden =
        !words.every((word) => text.includes(word)) ||
        selects.some((s) => s.value && row.cells[s.dataset.column].textContent !== s.value);
      shown += !row.hidden;
    }
    count.textContent = shown + " of " + rows.length + " rows";
  };
  tools.addEventListener("input", filter);
  filter();
})();
