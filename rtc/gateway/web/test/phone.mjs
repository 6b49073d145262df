// The softphone's page, used as a person uses it: by its controls. What a person would hear is measured at the page's
// audio element.
import { until } from "./programs.mjs";

// openPhone opens the page under a name of its own and logs in.
export async function openPhone(browser, lab, name, { trickle = false, relay = false } = {}) {
  const page = await browser.newPage();
  page.setDefaultTimeout(15_000);
  const said = []; // by the console, and by errors
  page.on("console", (m) => said.push(`${m.type()}: ${m.text()}`));
  page.on("pageerror", (err) => said.push(`error: ${err.message}`));
  await page.addInitScript(keepConnections);
  const query = new URLSearchParams({ name, ...(trickle && { trickle: 1 }), ...(relay && { relay: 1 }) });
  await page.goto(`${lab.web}phone/?${query}`);
  await page.locator("html[data-ready=true]").waitFor();
  await page.click("#enter");
  await page.locator("#line.live").waitFor().catch((err) => { throw new Error(`${name} does not log in: ${said.join("\n")}`, { cause: err }); });

  const phone = { page, name, said };
  phone.state = () => page.locator("#call").getAttribute("data-state");
  phone.cause = () => page.locator("#call").getAttribute("data-cause");
  phone.digits = () => page.locator("#facts").getAttribute("data-digits");
  phone.path = async () => (await page.locator("#facts dt:text-is('path') + dd").textContent({ timeout: 5000 }));
  phone.is = (...states) => until(`${name} is ${states.join(" or ")}`, async () => states.includes(await phone.state())).catch(async (err) => {
    throw new Error(`${err.message}, but ${await phone.state()}\n${await page.locator("#log").innerText()}`);
  });
  phone.dial = async (destination) => {
    await page.fill("#destination", destination);
    await page.click("#ring");
  };
  phone.press = (control) => page.click(`#${control}`);
  phone.key = (digit) => page.click(`#keypad button:text-is("${digit}")`);
  // hear gives the loudness in dB of each frequency in what comes in, and of whatever is loudest, while it listens.
  phone.hear = (hz, ms = 1500) => page.evaluate(listen, { hz, ms });
  // hears waits until a frequency comes in that stands clear of silence; or, not wanted, until it has gone.
  phone.hears = async (hz, wanted = true, seconds = 15) => {
    let last;
    await until(`${name} ${wanted ? "hears" : "no longer hears"} ${hz} Hz`, async () => {
      last = await phone.hear([hz], wanted ? 700 : 1200);
      return wanted ? last.levels[0] > -50 && Math.abs(last.peak - hz) < 30 : last.levels[0] < -80;
    }, seconds).catch((err) => { throw new Error(`${err.message}; last ${JSON.stringify(last)}`); });
    return last;
  };
  phone.connection = () => page.evaluate(connection);
  phone.close = () => page.close();
  return phone;
}

// keepConnections runs before the page: the tests look at the peer connections that the SDK makes.
function keepConnections() {
  const made = (window.connectionsMade = []);
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      made.push(this);
    }
  };
}

// connection runs in the page: what the newest peer connection is at.
async function connection() {
  const pc = window.connectionsMade.at(-1);
  const ufrag = (d) => /^a=ice-ufrag:(\S+)/m.exec(d?.sdp ?? "")?.[1];
  let packets = 0;
  for (const s of (await pc.getStats()).values()) if (s.type === "inbound-rtp") packets += s.packetsReceived;
  return {
    made: window.connectionsMade.length, state: pc.connectionState, signaling: pc.signalingState,
    local: ufrag(pc.currentLocalDescription), remote: ufrag(pc.currentRemoteDescription), packets,
  };
}

// listen runs in the page: an FFT of the remote stream, the strongest that each bin becomes.
async function listen({ hz, ms }) {
  const stream = document.getElementById("remote").srcObject;
  if (!stream) throw new Error("there is no remote stream");
  const context = new AudioContext();
  try {
    await context.resume();
    const analyser = context.createAnalyser();
    analyser.fftSize = 4096;
    analyser.smoothingTimeConstant = 0;
    context.createMediaStreamSource(stream).connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount), most = new Float32Array(bins.length).fill(-200);
    // What stands in a fresh analyser is silence; it fills in 85 ms.
    await new Promise((done) => setTimeout(done, 150));
    for (const end = performance.now() + ms; performance.now() < end; await new Promise((done) => setTimeout(done, 20))) {
      analyser.getFloatFrequencyData(bins);
      for (let i = 0; i < bins.length; i++) if (bins[i] > most[i]) most[i] = bins[i];
    }
    const width = context.sampleRate / analyser.fftSize;
    const at = (f) => Math.max(...[-1, 0, 1].map((d) => most[Math.round(f / width) + d]));
    const peak = most.indexOf(Math.max(...most));
    return { levels: hz.map((f) => Math.round(at(f))), peak: Math.round(peak * width), peakLevel: Math.round(most[peak]) };
  } finally {
    await context.close();
  }
}
