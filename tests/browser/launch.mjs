// Headless Chromium, with WebGPU on SwiftShader or without.
import { chromium } from "playwright-core";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--no-default-browser-check"];

export async function launch({ gpu }) {
  const profile = mkdtempSync(path.join(os.tmpdir(), "carat-browser-"));
  const args = [...QUIET, ...(gpu ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] : ["--disable-features=WebGPU", "--disable-gpu"])];
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CARAT_CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    chromiumSandbox: false,
    args,
    ignoreDefaultArgs: ["--enable-unsafe-swiftshader"],
  });
  const page = async (url) => {
    const page = await context.newPage();
    page.setDefaultTimeout(120_000);
    page.on("console", (m) => (m.type() === "error" || process.env.CARAT_VERBOSE) && console.log(`  [${m.type()}] ${m.text()}`));
    page.on("pageerror", (e) => console.log(`  [page] ${e.message}`));
    await page.goto(url);
    await page.waitForFunction("globalThis.ready");
    return page;
  };
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { page, close };
}
