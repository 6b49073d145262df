// The programs under test, as a person runs them: the lab, a device, the browser. Whatever was started here ends with
// the tests, however they end.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const bin = process.env.SIDETONE_BIN ?? fileURLToPath(new URL("../../../../bin/", import.meta.url));
const running = new Set();
const dir = mkdtempSync(path.join(os.tmpdir(), "sidetone-phone-"));
process.on("exit", () => {
  for (const p of running) p.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

// file gives a path in the folder of this run, which is removed at its end.
export const file = (name) => path.join(dir, name);

// until asks again and again until what it gets is true, and gives that.
export async function until(what, ask, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (let last; ; await sleep(50)) {
    try {
      const got = await ask();
      if (got) return got;
    } catch (err) {
      last = err;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`, { cause: last });
  }
}

// start runs one of our programs. Its log is shown when it ends badly.
function start(name, args, env = {}) {
  const p = spawn(path.join(bin, name), args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  running.add(p);
  let log = "";
  p.stderr.on("data", (b) => { log = (log + b).slice(-200_000); });
  p.ended = new Promise((done) => {
    p.on("error", (err) => { log += err; done(-1); });
    p.on("close", (code) => { running.delete(p); done(code); });
  });
  p.log = () => log;
  p.stop = async () => {
    p.kill("SIGTERM");
    const code = await Promise.race([p.ended, sleep(5000, "late", { ref: false })]);
    if (code === "late") p.kill("SIGKILL");
    if (code !== 0) throw new Error(`${name} ended with ${code}\n${log}`);
  };
  return p;
}

async function output(name, args) {
  const p = start(name, args);
  let out = "";
  p.stdout.on("data", (b) => { out += b; });
  if ((await p.ended) !== 0) throw new Error(`${name} ${args.join(" ")}: ${p.log()}`);
  return out;
}

// startLab runs a lab on free ports and waits until it says where everything is.
export async function startLab() {
  const home = file("lab");
  const p = start("sidetone-lab", ["up", "--json", "--dir", home, "--listen", "127.0.0.1:0", "--log", "debug"]);
  const line = await Promise.race([
    createInterface(p.stdout)[Symbol.asyncIterator]().next().then((l) => l.value),
    p.ended, sleep(20_000, undefined, { ref: false }),
  ]);
  if (typeof line !== "string") throw new Error(`the lab does not start\n${p.log()}`);
  const lab = { ...JSON.parse(line), stop: p.stop, log: p.log };
  lab.stats = async () => JSON.parse(await output("sidetone-lab", ["stats", "--json", "--dir", home])).clients;
  lab.fault = (...words) => output("sidetone-lab", ["fault", ...words, "--dir", home]);
  // ended gives what the lab knows of a client's call that has ended.
  lab.ended = (name, id) => until(`the end of ${name}'s call`, async () =>
    (await lab.stats())[name].calls.find((c) => c.id === id && c.state === "ended"));
  lab.reports = (name, id) => until(`the report of ${name}'s call`, async () => {
    const all = (await lab.stats())[name].reports.filter((r) => r.call_id === id);
    return all.length > 0 && all;
  });
  return lab;
}

// startDevice runs one of the lab's devices, which answers by itself, says the tone in the WAV said, and records what
// it hears into heard; each call starts both anew.
export async function startDevice(lab, name, { said, heard, env = {} }) {
  const config = lab.devices[name];
  const p = start("sidetone", ["run", "--config", config], {
    SIDETONE_LINE_AUTO_ANSWER: "true", SIDETONE_AUDIO_CAPTURE: `wav:${said}`, SIDETONE_AUDIO_PLAYBACK: `wav:${heard}`,
    SIDETONE_LOG_LEVEL: "debug", ...env,
  });
  const socketPath = config.replace(/\.toml$/, ".sock");
  // ask makes one request at the device's control socket.
  const ask = (method, url, body) => new Promise((resolve, reject) => {
    const request = http.request({ socketPath, method, path: url, agent: false }, (answer) => {
      request.setTimeout(0); // the events of a call come when they come
      resolve(answer);
    });
    request.on("error", reject);
    request.setTimeout(10_000, () => request.destroy(new Error(`${url}: no answer`)));
    request.end(body && JSON.stringify(body));
  });
  const post = async (url, body = {}) => {
    const answer = await ask("POST", url, body);
    answer.setEncoding("utf8");
    let text = "";
    for await (const chunk of answer) text += chunk;
    if (answer.statusCode >= 300) throw new Error(`${url}: ${answer.statusCode} ${text}`);
  };
  const device = { stop: p.stop, log: p.log, post };
  device.status = async () => {
    const answer = await ask("GET", "/v1/status");
    let text = "";
    for await (const chunk of answer) text += chunk;
    return JSON.parse(text);
  };
  // call places a call; its events collect in the list that it gives.
  device.call = async (destination, options = {}) => {
    const events = [];
    const answer = await ask("POST", "/v1/call", { destination, ...options });
    createInterface(answer).on("error", () => {}).on("line", (line) => events.push(JSON.parse(line)));
    return events;
  };
  // idle waits until the device has no call, so that its recording is whole.
  device.idle = () => until(`${name} has no call`, async () => ((await device.status()).calls ?? []).every((c) => c.state === "destroy" || c.state === "purge"));
  await until(`${name} is registered`, async () => (await lab.stats())[name]?.registered).catch((err) => {
    throw new Error(`${err.message}\n${p.log()}`);
  });
  return device;
}

// startBrowser runs Chromium with a WAV for a microphone.
export async function startBrowser(said) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, timeout: 60_000,
    args: [
      "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-audio-capture=${said}`,
      "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns",
    ],
  });
}
