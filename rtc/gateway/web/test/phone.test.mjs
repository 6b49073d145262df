// The published SDK in Chromium against the lab, and a device at the other end.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { openPhone } from "./phone.mjs";
import { file, startBrowser, startDevice, startLab, until } from "./programs.mjs";
import { level, rate, readWAV, writeTone } from "./sound.mjs";

// The tones that each side says.
const browserHz = 850, deviceHz = 1300;
// What the gateway plays to the side that is held.
const holdHz = 440;
const heard = file("heard.wav"); // by the device
const limit = { timeout: 90_000 };

let lab, device, browser;
before(async () => {
  await Promise.all([writeTone(file("browser.wav"), browserHz, 20), writeTone(file("device.wav"), deviceHz, 120)]);
  lab = await startLab();
  device = await startDevice(lab, "door1", { said: file("device.wav"), heard });
  browser = await startBrowser(file("browser.wav"));
}, limit);
after(async () => {
  await browser?.close();
  await device?.stop();
  await lab?.stop();
}, limit);

// phoneTest runs with a page of its own, and shows what everybody said when it fails.
let phones = 0;
function phoneTest(title, options, body) {
  test(title, limit, async (t) => {
    const phone = await openPhone(browser, lab, `browser${++phones}`, options);
    try {
      await body(phone, (text) => console.log(`    ${title}: ${text}`));
      assert.deepEqual(phone.said.filter((s) => s.startsWith("error: ") && !s.includes("favicon")), [], "errors in the page's console");
    } catch (err) {
      console.error(`${title}: the page says\n${await phone.page.locator("#log").innerText().catch(() => "nothing")}`);
      console.error(phone.said.slice(-40).join("\n"));
      throw err;
    } finally {
      await phone.close();
      await device.idle();
    }
  });
}

// callOf is the newest call of a client at the gateway.
async function callOf(name) {
  return (await lab.stats())[name].calls.at(-1);
}

// recorded checks what the device heard in the call that has ended.
async function recorded(say, by = device, file = heard) {
  await by.idle();
  const pcm = await readWAV(file);
  const [wanted, other] = [level(pcm, browserHz), level(pcm, 2 * browserHz + 137)];
  say(`the device heard ${browserHz} Hz at ${wanted.toFixed(1)} dB, beside it ${other.toFixed(1)} dB, in ${(pcm.length / rate).toFixed(1)} s`);
  assert.ok(wanted > -40 && wanted > other + 15, "the device hears the browser's tone");
  return pcm;
}

// reported checks that the SDK's call report was taken in.
async function reported(name, id, say) {
  const [report] = await lab.reports(name, id);
  const body = JSON.parse(await readFile(report.file, "utf8"));
  say(`call report of ${report.bytes} bytes, ${body.stats.length} intervals, SDK ${body.summary.sdkVersion}`);
  assert.equal(body.summary.callId, id);
  assert.ok(body.stats.length > 0, "the report has figures");
}

for (const trickle of [false, true]) {
  const way = trickle ? "trickle" : "non-trickle";

  phoneTest(`the browser calls, ${way}, and hangs up`, { trickle }, async (phone, say) => {
    await phone.dial("door1");
    await phone.is("active");
    const h = await phone.hears(deviceHz);
    say(`the browser hears ${deviceHz} Hz at ${h.levels[0]} dB, path ${await phone.path()}`);
    await sleep(1500);
    await phone.press("hangup");
    await phone.is("destroy");
    assert.equal(await phone.cause(), "NORMAL_CLEARING 16");
    const { id } = await callOf(phone.name);
    const at = await lab.ended(phone.name, id);
    assert.deepEqual([at.cause, at.causeCode, at.direction], ["NORMAL_CLEARING", 16, "outbound"]);
    await recorded(say);
    await reported(phone.name, id, say);
  });

  phoneTest(`the device calls, ${way}, and hangs up`, { trickle }, async (phone, say) => {
    const events = await device.call(phone.name);
    await phone.is("ringing");
    await phone.press("answer");
    await phone.is("active");
    const h = await phone.hears(deviceHz);
    say(`the browser hears ${deviceHz} Hz at ${h.levels[0]} dB, path ${await phone.path()}`);
    await sleep(1500);
    await device.post("/v1/hangup");
    await phone.is("destroy");
    assert.equal(await phone.cause(), "NORMAL_CLEARING 16");
    const report = await until("the device's report", () => events.find((e) => e.event === "report"));
    assert.deepEqual([report.report.summary.cause, report.report.summary.causeCode], ["NORMAL_CLEARING", 16]);
    await recorded(say);
    await reported(phone.name, (await callOf(phone.name)).id, say);
  });
}

phoneTest("the browser rejects", {}, async (phone, say) => {
  const events = await device.call(phone.name);
  await phone.is("ringing");
  await phone.press("hangup");
  await phone.is("destroy");
  const { report } = await until("the device's report", () => events.find((e) => e.event === "report"));
  say(`the device was told ${report.summary.cause} ${report.summary.causeCode}`);
  assert.deepEqual([report.summary.cause, report.summary.causeCode], ["USER_BUSY", 17]);
});

phoneTest("digits go both ways", {}, async (phone, say) => {
  const events = await device.call(phone.name);
  await phone.is("ringing");
  await phone.press("answer");
  await phone.is("active");
  await phone.hears(deviceHz);
  for (const key of "5#0") await phone.key(key);
  await until("the device's digits", () => events.filter((e) => e.event === "dtmf").map((e) => e.digit).join("") === "5#0");
  // The device sends telephone-events (RFC 4733), which Chromium plays: 7 is 852 and 1209 Hz.
  const listening = phone.hear([852, 1209, 941], 1500);
  await device.post("/v1/dtmf", { digits: "7" });
  const { levels } = await listening;
  say(`the device's 7 comes as ${levels[0]} dB at 852 Hz and ${levels[1]} dB at 1209 Hz, beside ${levels[2]} dB at 941 Hz`);
  assert.ok(levels[0] > -45 && levels[1] > -45 && levels[2] < levels[0] - 15, "the browser plays the device's digit");
  await phone.press("hangup");
  await phone.is("destroy");
});

phoneTest("digits go both ways by signalling", {}, async (phone) => {
  const kiosk = await startDevice(lab, "kiosk1", { said: file("device.wav"), heard: file("heard-kiosk.wav"), env: { SIDETONE_LINE_DTMF: "info" } });
  try {
    const events = await kiosk.call(phone.name);
    await phone.is("ringing");
    await phone.press("answer");
    await phone.is("active");
    await phone.key("4");
    await until("the kiosk's digit", () => events.some((e) => e.event === "dtmf" && e.digit === "4"));
    await kiosk.post("/v1/dtmf", { digits: "8*" });
    await until("the browser's digits", async () => (await phone.digits()) === "8*");
    await phone.press("hangup");
    await phone.is("destroy");
  } finally {
    await kiosk.stop();
  }
});

phoneTest("hold and take back", {}, async (phone, say) => {
  await phone.dial("door1");
  await phone.is("active");
  const begin = Date.now();
  const now = () => (Date.now() - begin) / 1000;
  await phone.hears(deviceHz);
  await sleep(1000);
  const from = now();
  await phone.press("hold");
  await phone.is("held");
  await phone.hears(deviceHz, false);
  const silent = await phone.hear([deviceHz], 1000);
  await sleep(Math.max(0, (from + 4 - now()) * 1000));
  const to = now();
  await phone.press("hold");
  await phone.is("active");
  const again = await phone.hears(deviceHz);
  await sleep(1500);
  await phone.press("hangup");
  await phone.is("destroy");
  await device.idle();
  const pcm = await readWAV(heard);
  const [before, during, after] = [[0, from], [from + 1, to - 0.5], [to + 0.5, pcm.length / rate]].map(([a, b]) => level(pcm, browserHz, a, b));
  const told = level(pcm, holdHz, from + 1, to - 0.5);
  say(`the browser hears ${deviceHz} Hz at ${silent.levels[0]} dB while held (loudest: ${silent.peak} Hz, ${silent.peakLevel} dB), ${again.levels[0]} dB afterwards`);
  say(`the device hears ${browserHz} Hz at ${before.toFixed(1)} dB, ${during.toFixed(1)} dB while held (and ${holdHz} Hz at ${told.toFixed(1)} dB), ${after.toFixed(1)} dB afterwards`);
  assert.ok(told > -50, "the device hears that it is held");
  assert.ok(before > -40 && after > -40 && during < before - 30, "hold stops the browser's tone, and no longer than that");
});

phoneTest("the device holds and takes back", {}, async (phone, say) => {
  await phone.dial("door1");
  await phone.is("active");
  await phone.hears(deviceHz);
  await device.post("/v1/hold");
  await phone.hears(deviceHz, false);
  const held = await phone.hear([deviceHz, holdHz], 1500);
  await device.post("/v1/unhold");
  const again = await phone.hears(deviceHz);
  await sleep(1500);
  await phone.press("hangup");
  await phone.is("destroy");
  say(`the browser hears ${deviceHz} Hz at ${held.levels[0]} dB while held (and ${holdHz} Hz at ${held.levels[1]} dB), ${again.levels[0]} dB afterwards`);
  assert.ok(held.levels[1] > -50, "the browser hears that it is held");
  await recorded(say);
});

phoneTest("mute and unmute", {}, async (phone, say) => {
  await phone.dial("door1");
  await phone.is("active");
  const begin = Date.now();
  const now = () => (Date.now() - begin) / 1000;
  await phone.hears(deviceHz);
  await sleep(1000);
  const from = now();
  await phone.press("mute");
  await phone.hears(deviceHz);
  await sleep(2000);
  const to = now();
  await phone.press("mute");
  await sleep(2000);
  await phone.press("hangup");
  await phone.is("destroy");
  await device.idle();
  const pcm = await readWAV(heard);
  const [before, during, after] = [[0, from], [from + 0.7, to - 0.3], [to + 0.3, pcm.length / rate]].map(([a, b]) => level(pcm, browserHz, a, b));
  say(`the device hears ${browserHz} Hz at ${before.toFixed(1)} dB, ${during.toFixed(1)} dB while muted, ${after.toFixed(1)} dB afterwards`);
  assert.ok(before > -40 && after > -40 && during < before - 30, "mute stops the browser's tone, and no longer than that");
});

for (const trickle of [false, true]) {
  phoneTest(`ICE restart from the browser, ${trickle ? "trickle" : "non-trickle"}`, { trickle }, async (phone, say) => {
    await phone.dial("door1");
    await phone.is("active");
    await phone.hears(deviceHz);
    const old = await phone.connection();
    await phone.press("restart");
    let gap = 0, last = Date.now(), seen = old.packets;
    const fresh = await until("new credentials on both sides", async () => {
      const c = await phone.connection();
      if (c.packets > seen) [seen, last] = [c.packets, Date.now()];
      gap = Math.max(gap, Date.now() - last);
      return c.local !== old.local && c.remote !== old.remote && c.signaling === "stable" && c;
    });
    for (const end = Date.now() + 2000; Date.now() < end; await sleep(10)) {
      const c = await phone.connection();
      if (c.packets > seen) [seen, last] = [c.packets, Date.now()];
      gap = Math.max(gap, Date.now() - last);
    }
    say(`longest gap between packets around the restart: ${gap} ms; ${seen - old.packets} packets`);
    assert.equal(fresh.made, old.made, "the same peer connection");
    assert.ok(gap < 2000, `sound is away for ${gap} ms`);
    await phone.hears(deviceHz);
    assert.equal((await phone.connection()).state, "connected");
    await phone.is("active");
    await phone.press("hangup");
    await phone.is("destroy");
    await recorded(say);
  });
}

phoneTest("every socket is cut in mid-call", {}, async (phone, say) => {
  await phone.dial("door1");
  await phone.is("active");
  await phone.hears(deviceHz);
  const old = await phone.connection();
  const cut = Date.now();
  await lab.fault("gateway", "--cut");
  await until("a new peer connection", async () => (await phone.connection()).made > old.made);
  await phone.is("active");
  await until("packets", async () => (await phone.connection()).packets > 0);
  say(`attached again, with media, ${Date.now() - cut} ms after the cut`);
  const h = await phone.hears(deviceHz);
  say(`the browser hears ${deviceHz} Hz at ${h.levels[0]} dB`);
  await until("the device is back", async () => (await lab.stats()).door1.registered);
  await sleep(2500);
  await phone.press("hangup");
  await phone.is("destroy");
  assert.equal(await phone.cause(), "NORMAL_CLEARING 16");
  const pcm = await recorded(say);
  const late = level(pcm, browserHz, Math.max(0, pcm.length / rate - 1.5));
  say(`the device hears ${browserHz} Hz at ${late.toFixed(1)} dB at the end`);
  assert.ok(late > -40, "the device hears the browser after the cut");
});

test("relay only on both sides", limit, async (t) => {
  const heard2 = file("heard2.wav");
  const hidden = await startDevice(lab, "door2", { said: file("device.wav"), heard: heard2, env: { SIDETONE_ICE_POLICY: "relay" } });
  try {
    for (const trickle of [false, true]) {
      const phone = await openPhone(browser, lab, `relayed${Number(trickle)}`, { relay: true, trickle });
      try {
        const say = (text) => console.log(`    relay only, ${trickle ? "the device calls, trickle" : "the browser calls, non-trickle"}: ${text}`);
        const before = (await lab.stats()).door2.turn;
        if (trickle) {
          await hidden.call(phone.name);
          await phone.is("ringing");
          await phone.press("answer");
        } else {
          await phone.dial("door2");
        }
        await phone.is("active");
        const h = await phone.hears(deviceHz);
        say(`the browser hears ${deviceHz} Hz at ${h.levels[0]} dB, path ${await phone.path()}`);
        await sleep(1500);
        await phone.press("hangup");
        await phone.is("destroy");
        await recorded(say, hidden, heard2);
        const stats = await lab.stats();
        for (const name of [phone.name, "door2"]) {
          const types = [...new Set(stats[name].candidates.map((c) => c.type))];
          const all = Object.entries(stats[name].turn).map(([over, t]) => `${over} ${t.sent}/${t.received}`).join(", ");
          say(`${name}: candidates ${types}; bytes through TURN sent/received: ${all}`);
          assert.deepEqual(types, ["relay"]);
        }
        const moved = (turn, was = {}) => Math.min(...["sent", "received"].map((way) =>
          Object.keys(turn).reduce((sum, over) => sum + turn[over][way] - (was[over]?.[way] ?? 0), 0)));
        assert.ok(moved(stats[phone.name].turn) > 5000, "the browser's sound went through TURN");
        assert.ok(moved(stats.door2.turn, before) > 5000, "the device's sound went through TURN");
      } finally {
        await phone.close();
      }
    }
  } finally {
    await hidden.stop();
  }
});

test("without the SDK the page says what to do", limit, async () => {
  const page = await browser.newPage();
  await page.route("**/sdk.mjs", (route) => route.fulfill({ status: 404 }));
  await page.goto(`${lab.web}phone/`);
  await page.locator("#trouble", { hasText: "make web" }).waitFor({ timeout: 10_000 });
  assert.ok(await page.locator("#enter").isDisabled());
  await page.close();
});
