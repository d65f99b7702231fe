// Opens a page in headless Chromium at desktop and phone width, light and dark, writes screenshots, and reports
// console errors, requests to other files, horizontal overflow and the findings of axe-core.
//
//   npm install --prefix FOLDER puppeteer-core axe-core
//   NODE_PATH=FOLDER/node_modules node scripts/dev/check_page.js PAGE.html [SCREENSHOTS] [--full]
//
// CHROMIUM is the program (default /usr/bin/chromium). Exit code 1 if there is any finding. `--full` takes
// screenshots of the whole page in pieces of 4,000 pixels.
"use strict";
const fs = require("fs");
const path = require("path");
const { pathToFileURL } = require("url");
const puppeteer = require("puppeteer-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [page, folder = ".", full] = process.argv.slice(2);
const widths = [1280, 390];
const schemes = ["light", "dark"];
const PIECE = 4000;

const findings = [];
const report = (view, text) => findings.push(`${view}: ${text}`);

async function check(browser, width, scheme) {
  const view = `${width} ${scheme}`;
  const tab = await browser.newPage();
  tab.on("console", (message) => message.type() === "error" && report(view, `console: ${message.text()}`));
  tab.on("pageerror", (error) => report(view, `script: ${error.message}`));
  tab.on("dialog", (dialog) => (report(view, `dialog: ${dialog.message()}`), dialog.dismiss()));
  tab.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith("data:") && !url.startsWith("blob:") && url !== pathToFileURL(path.resolve(page)).href)
      report(view, `request: ${url}`);
  });
  await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await tab.setViewport({ width, height: 900, isMobile: width < 600, hasTouch: width < 600 });
  await tab.goto(pathToFileURL(path.resolve(page)).href, { waitUntil: "load", timeout: 300000 });
  const wide = await tab.evaluate(() => {
    const limit = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= limit) return [];
    const scrolls = (node) => {
      for (let up = node.parentElement; up; up = up.parentElement)
        if (["auto", "scroll", "hidden"].includes(getComputedStyle(up).overflowX)) return true;
      return false;
    };
    const beyond = [...document.body.querySelectorAll("*")].filter(
      (node) => node.getBoundingClientRect().right > limit + 1 && !scrolls(node),
    );
    return beyond.slice(0, 5).map((node) => node.outerHTML.slice(0, 120));
  });
  for (const node of wide) report(view, `wider than the page: ${node}`);
  await tab.evaluate(axe);
  const found = await tab.evaluate(() => window.axe.run());
  for (const { id, impact, help, nodes } of found.violations) {
    const first = nodes[0];
    report(view, `axe ${impact} ${id}: ${help} (${nodes.length}): ${first.html.slice(0, 160)}`);
  }
  const name = path.join(folder, `${path.basename(page, ".html")}-${width}-${scheme}`);
  const height = await tab.evaluate(() => document.documentElement.scrollHeight);
  if (full === "--full") {
    for (let top = 0, piece = 0; top < height; top += PIECE, piece += 1) {
      const clip = { x: 0, y: top, width, height: Math.min(PIECE, height - top) };
      await tab.screenshot({ path: `${name}-${String(piece).padStart(2, "0")}.png`, clip, captureBeyondViewport: true });
    }
  } else {
    await tab.screenshot({ path: `${name}.png` });
  }
  await tab.close();
  return height;
}

async function main() {
  fs.mkdirSync(folder, { recursive: true });
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"],
    protocolTimeout: 600000,
  });
  for (const width of widths)
    for (const scheme of schemes) {
      const height = await check(browser, width, scheme);
      console.log(`${width} px, ${scheme}: ${height} px high`);
    }
  await browser.close();
  for (const finding of findings) console.log(finding);
  console.log(findings.length === 0 ? "no findings" : `${findings.length} findings`);
  process.exitCode = findings.length === 0 ? 0 : 1;
}

main();
